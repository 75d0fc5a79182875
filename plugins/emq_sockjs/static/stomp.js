// A small client of STOMP 1.2 over anything with send(), onopen, onmessage and onclose.
(function (global) {
  'use strict';

  const ESCAPES = { '\r': '\\r', '\n': '\\n', ':': '\\c', '\\': '\\\\' };
  const PLAIN = { '\\r': '\r', '\\n': '\n', '\\c': ':', '\\\\': '\\' };

  const escaped = (text) => String(text).replace(/[\r\n:\\]/g, (one) => ESCAPES[one]);
  const unescaped = (text) => text.replace(/\\[rnc\\]/g, (one) => PLAIN[one]);

  function frame(command, headers, body) {
    const plain = command === 'CONNECT';
    const lines = Object.entries(headers).map(([name, value]) =>
      plain ? `${name}:${value}` : `${escaped(name)}:${escaped(value)}`,
    );
    const bytes = new TextEncoder().encode(body || '').length;
    if (bytes > 0) lines.push('content-length:' + bytes);
    return [command, ...lines, '', body || ''].join('\n') + '\0';
  }

  // The server sends each frame as a message.
  function parsed(text) {
    const head = text.replace(/^\n+/, '');
    const end = head.indexOf('\n\n');
    if (end < 0) return null;
    const [command, ...lines] = head.slice(0, end).split('\n');
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = unescaped(line.slice(0, colon));
      if (!(name in headers)) headers[name] = unescaped(line.slice(colon + 1));
    }
    return { command, headers, body: head.slice(end + 2).replace(/\0$/, '') };
  }

  // `on` has connected(frame), message(frame), error(frame), receipt(frame) and closed(event).
  global.stompOver = function (socket, login, passcode, on) {
    socket.onopen = () => {
      socket.send(frame('CONNECT', { 'accept-version': '1.2', host: location.hostname, login, passcode }));
    };
    socket.onmessage = (event) => {
      const got = parsed(event.data);
      const name = got && got.command.toLowerCase();
      if (name && on[name]) on[name](got);
    };
    socket.onclose = (event) => on.closed(event);
    return {
      subscribe: (id, destination) => socket.send(frame('SUBSCRIBE', { id, destination })),
      unsubscribe: (id) => socket.send(frame('UNSUBSCRIBE', { id })),
      send: (destination, body) => socket.send(frame('SEND', { destination }, body)),
      disconnect: () => {
        socket.send(frame('DISCONNECT', {}));
        socket.close();
      },
    };
  };
})(self);
