import { defineConfig } from "vite";

export default defineConfig({
  // The server serves the page under several paths (/, /chart/…, /sql), its assets under one.
  base: "/",
  build: { emptyOutDir: true, target: "es2022", sourcemap: false },
});
