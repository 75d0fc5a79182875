// The pages there are: the word in the menu in English, the address.

exports.PAGES = [
  ['Overview', '/'], ['Clients', '/clients'], ['Sessions', '/sessions'], ['Topics', '/topics'],
  ['Subscriptions', '/subscriptions'], ['Retained', '/retained'], ['Alarms', '/alarms'], ['Plugins', '/plugins'],
  ['Listeners', '/listeners'], ['Bans', '/bans'], ['WebSocket', '/websocket'], ['HTTP API', '/http-api'],
  ['Access tester', '/access-tester'], ['Traces', '/traces'], ['Logging', '/logging'], ['Users', '/users'],
  ['API keys', '/api-keys'], ['Audit log', '/audit']
]
