/** Candles above, volume below: lightweight-charts with our colours and our data. */

import {
  CandlestickSeries,
  type ChartOptions,
  ColorType,
  createChart,
  type DeepPartial,
  HistogramSeries,
  type IChartApi,
  type ISeriesApi,
} from "lightweight-charts";
import { type Bar, candle, column, isIntraday, type Series } from "./bars";
import { decimals } from "./format";
import { colour } from "./theme";

const DAY = 86_400;

export class Chart {
  private readonly chart: IChartApi;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volumes: ISeriesApi<"Histogram">;
  private columns = { up: "", down: "" };

  /** Calls back with the bar's time under the pointer, or null. */
  constructor(box: HTMLElement, pointed: (time: number | null) => void) {
    this.chart = createChart(box, {
      autoSize: true,
      timeScale: { rightOffset: 4, minBarSpacing: 0.3, maxBarSpacing: 40 },
      crosshair: { mode: 0 },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false }, 0);
    this.volumes = this.chart.addSeries(
      HistogramSeries,
      { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    this.chart.panes()[0]?.setStretchFactor(4);
    this.chart.panes()[1]?.setStretchFactor(1);
    this.chart.subscribeCrosshairMove((event) => {
      pointed(typeof event.time === "number" ? event.time : null);
    });
    this.recolour();
    // The canvas draws with what is loaded: once more when the typeface has come.
    void document.fonts.ready.then(() => this.recolour());
  }

  recolour(series?: Series): void {
    const line = colour("line");
    const options: DeepPartial<ChartOptions> = {
      layout: {
        background: { type: ColorType.Solid, color: colour("surface") },
        textColor: colour("muted"),
        fontFamily: getComputedStyle(document.body).fontFamily,
        fontSize: 11,
        panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
    };
    this.chart.applyOptions(options);
    const [up, down] = [colour("up"), colour("down")];
    this.candles.applyOptions({
      upColor: up,
      downColor: down,
      wickUpColor: up,
      wickDownColor: down,
    });
    this.columns = { up: colour("up-soft"), down: colour("down-soft") };
    if (series) this.volumes.setData(series.sorted().map((bar) => column(bar, this.columns)));
  }

  /** Draw a whole series; the view stays where it was unless `days` says what to show. */
  draw(series: Series, interval: string, days: number | null): void {
    const bars = series.sorted();
    const digits = decimals(series.newest?.close ?? 1);
    this.candles.applyOptions({
      priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits },
    });
    this.chart.applyOptions({
      timeScale: { timeVisible: isIntraday(interval), secondsVisible: interval.endsWith("s") },
    });
    const seen = days === null ? this.chart.timeScale().getVisibleRange() : null;
    this.candles.setData(bars.map(candle));
    this.volumes.setData(bars.map((bar) => column(bar, this.columns)));
    if (seen) this.chart.timeScale().setVisibleRange(seen);
    else this.show(bars, days ?? Number.POSITIVE_INFINITY);
  }

  /** The last days of what is loaded. */
  show(bars: Bar[], days: number): void {
    const last = bars.at(-1);
    if (!last) return;
    const scale = this.chart.timeScale();
    const from = last.time - days * DAY;
    const first = bars.findIndex((bar) => bar.time >= from);
    if (first <= 0) scale.fitContent();
    else scale.setVisibleLogicalRange({ from: first - 0.5, to: bars.length + 2 });
  }

  /** One bar more, or one bar anew. */
  update(bar: Bar, isOlder: boolean): void {
    this.candles.update(candle(bar), isOlder);
    this.volumes.update(column(bar, this.columns), isOlder);
  }
}
