// A small client of SockJS, served by emq_sockjs: WebSocket, and where that does not get through, xhr_streaming or
// xhr polling. It has the interface of a browser's WebSocket. Pages that must run in old browsers use sockjs-client.
(function (global) {
  'use strict';

  const CONNECTING = 0;
  const OPEN = 1;
  const CLOSING = 2;
  const CLOSED = 3;
  // A way of receiving that has not opened the session after so many milliseconds is given up.
  const PATIENCE = 5000;

  // Frames of a WebSocket. `on` has frame(text) and end(), which is called once.
  function overWebSocket(url, on) {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + '/websocket');
    socket.onmessage = (event) => on.frame(event.data);
    socket.onclose = () => on.end();
    return {
      send: (messages) => socket.send(JSON.stringify(messages)),
      close: () => socket.close(),
    };
  }

  // Frames of responses, one response after the other; `action` is xhr_streaming or xhr.
  function overHttp(url, action, on) {
    let request = null;
    let waiting = [];
    let sending = false;
    let ended = false;

    function end() {
      if (ended) return;
      ended = true;
      if (request) request.abort();
      on.end();
    }

    function receive() {
      const xhr = new XMLHttpRequest();
      let seen = 0;
      const take = () => {
        for (;;) {
          const line = xhr.responseText.indexOf('\n', seen);
          if (line < 0 || ended) return;
          const frame = xhr.responseText.slice(seen, line);
          seen = line + 1;
          // The prelude is a line of many h, which is a heart-beat if anything.
          on.frame(frame);
        }
      };
      xhr.onprogress = take;
      xhr.onload = () => {
        take();
        if (xhr.status !== 200) end();
        else if (!ended) receive();
      };
      xhr.onerror = end;
      xhr.open('POST', url + '/' + action);
      xhr.setRequestHeader('Content-Type', 'text/plain');
      xhr.send();
      request = xhr;
    }

    function flush() {
      if (sending || ended || waiting.length === 0) return;
      sending = true;
      const messages = waiting;
      waiting = [];
      const xhr = new XMLHttpRequest();
      xhr.onload = () => {
        sending = false;
        if (xhr.status === 204 || xhr.status === 200) flush();
        else end();
      };
      xhr.onerror = end;
      xhr.open('POST', url + '/xhr_send');
      xhr.setRequestHeader('Content-Type', 'text/plain');
      xhr.send(JSON.stringify(messages));
    }

    receive();
    return {
      send: (messages) => {
        waiting.push(...messages);
        flush();
      },
      close: end,
    };
  }

  // Whoever knows the name of a session can speak in it.
  function secret() {
    const numbers = crypto.getRandomValues(new Uint32Array(4));
    return Array.from(numbers, (number) => number.toString(36)).join('');
  }

  function SockJS(url) {
    const base = new URL(url, global.location.href).href.replace(/\/+$/, '');
    const self = {
      url: base,
      transport: null,
      readyState: CONNECTING,
      onopen: null,
      onmessage: null,
      onclose: null,
    };
    const ways = ['websocket', 'xhr_streaming', 'xhr'];
    let link = null;
    // Ends the attempt that is being made.
    let giveUp = () => {};
    let reason = { code: 1006, reason: 'Connection lost' };

    function tell(name, event) {
      if (typeof self[name] === 'function') self[name](event);
    }

    function over() {
      if (self.readyState === CLOSED) return;
      self.readyState = CLOSED;
      tell('onclose', reason);
    }

    function attempt() {
      const way = ways.shift();
      if (!way) {
        reason = { code: 2000, reason: 'All transports failed' };
        return over();
      }
      if (way === 'websocket' && !global.WebSocket) return attempt();
      const session = base + '/000/' + secret();
      let opened = false;
      let given = false;
      let attempted = null;
      let patience = 0;
      giveUp = () => {
        given = true;
        clearTimeout(patience);
        if (attempted) attempted.close();
      };
      const next = () => {
        if (given || opened) return;
        giveUp();
        if (self.readyState === CONNECTING) attempt();
      };
      const on = {
        frame(text) {
          if (given) return;
          switch (text.charAt(0)) {
            case 'o':
              opened = true;
              clearTimeout(patience);
              link = attempted;
              self.transport = way;
              self.readyState = OPEN;
              tell('onopen', {});
              break;
            case 'a':
              for (const data of JSON.parse(text.slice(1))) tell('onmessage', { data });
              break;
            case 'c': {
              const [code, why] = JSON.parse(text.slice(1));
              reason = { code, reason: why };
              given = true;
              if (attempted) attempted.close();
              over();
              break;
            }
          }
        },
        end: () => (opened ? over() : next()),
      };
      patience = setTimeout(next, PATIENCE);
      attempted = way === 'websocket' ? overWebSocket(session, on) : overHttp(session, way, on);
    }

    self.send = (text) => {
      if (self.readyState !== OPEN) throw new Error('The connection is not open.');
      link.send([String(text)]);
    };
    self.close = (code, why) => {
      if (self.readyState >= CLOSING) return;
      self.readyState = CLOSING;
      reason = { code: code || 1000, reason: why || 'Normal closure' };
      if (link) link.close();
      else giveUp();
      over();
    };
    attempt();
    return self;
  }

  // The other half of sockjs-client's iframe transports: within a page of this server, it does requests for the
  // page around it. Whatever transport that asks for, responses stream.
  SockJS.bootstrap_iframe = function () {
    const windowId = global.location.hash.slice(1);
    let origin = null;
    let link = null;

    function post(type, data) {
      if (global.parent !== global) {
        global.parent.postMessage(JSON.stringify({ windowId, type, data: data || '' }), origin || '*');
      }
    }

    function start(transport, url, base) {
      for (const other of [url, base]) {
        if (new URL(other, global.location.href).origin !== global.location.origin) {
          throw new Error('From within an iframe only its own server can be reached.');
        }
      }
      if (transport === 'iframe-info-receiver') {
        const began = Date.now();
        fetch(base + '/info')
          .then((response) => response.json())
          .then((info) => post('t', JSON.stringify([info, Date.now() - began])))
          .catch(() => post('t', JSON.stringify([])));
        return;
      }
      let told = false;
      link = overHttp(url, transport === 'xhr-polling' ? 'xhr' : 'xhr_streaming', {
        frame(text) {
          if (text.charAt(0) === 'c') told = true;
          if (text.charAt(0) !== 'h' || text.length === 1) post('t', text);
        },
        end() {
          if (!told) post('c', JSON.stringify([1006, 'Connection lost']));
        },
      });
    }

    global.addEventListener('message', (event) => {
      if (event.source !== global.parent || (origin !== null && event.origin !== origin)) return;
      let message;
      try {
        message = JSON.parse(event.data);
      } catch (_) {
        return;
      }
      if (!message || message.windowId !== windowId) return;
      origin = event.origin === 'null' ? null : event.origin;
      if (message.type === 's' && !link) {
        const [, transport, url, base] = JSON.parse(message.data);
        start(transport, url, base);
      } else if (message.type === 'm' && link) {
        link.send([JSON.parse(message.data)]);
      } else if (message.type === 'c' && link) {
        link.close();
        link = null;
      }
    });
    post('s');
  };

  Object.assign(SockJS, { CONNECTING, OPEN, CLOSING, CLOSED });
  global.SockJS = SockJS;
})(self);
