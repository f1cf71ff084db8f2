"""Kinesis streams, through boto3."""
