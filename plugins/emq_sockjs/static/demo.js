'use strict';

const field = (id) => document.getElementById(id);
const log = field('log');
let client = null;

function say(kind, text) {
  const line = document.createElement('li');
  line.className = kind;
  line.textContent = text;
  log.append(line);
  line.scrollIntoView();
}

function show(connected) {
  field('connect').disabled = connected;
  field('disconnect').disabled = !connected;
  field('send').disabled = !connected;
}

field('connection').addEventListener('submit', (event) => {
  event.preventDefault();
  const destination = field('destination').value;
  const socket = new SockJS('/stomp');
  field('connect').disabled = true;
  client = stompOver(socket, field('login').value, field('passcode').value, {
    connected(frame) {
      say('state', `connected by ${socket.transport}, STOMP ${frame.headers.version}`);
      client.subscribe('0', destination);
      say('state', `subscribed to ${destination}`);
      show(true);
    },
    message: (frame) => say('in', `${frame.headers.destination}: ${frame.body}`),
    error: (frame) => say('error', frame.headers.message ? `${frame.headers.message} ${frame.body}` : frame.body),
    closed(event) {
      say('state', `closed: ${event.code} ${event.reason}`);
      show(false);
    },
  });
});

field('disconnect').addEventListener('click', () => client.disconnect());

field('message').addEventListener('submit', (event) => {
  event.preventDefault();
  const [destination, body] = [field('destination').value, field('body').value];
  client.send(destination, body);
  say('out', `${destination}: ${body}`);
  field('body').select();
});

show(false);
