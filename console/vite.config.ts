import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vitest/config"

// The built files are committed: the same source has to give the same bytes on every machine.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../src/session_db/console/static",
    emptyOutDir: true,
    target: "es2022",
    // Nothing may be inlined as a data: URL that the page's Content-Security-Policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8765", "/login": "http://127.0.0.1:8765" } },
  test: { include: ["src/**/*.test.ts"] },
})
