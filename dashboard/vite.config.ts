import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// Everything is relative: the page works below any path a proxy puts it.
export default defineConfig({
  base: './',
  plugins: [react()],
  build: {
    target: 'es2022',
    sourcemap: false,
    // Chunks are found by name in the built page's directory; nothing is inlined into the page itself.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: {
    host: '127.0.0.1',
    // `EMQ_API` names the broker the development server forwards to.
    proxy: { '/api': process.env.EMQ_API ?? 'http://127.0.0.1:18083' },
  },
});
