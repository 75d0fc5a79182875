#!/usr/bin/env python3
"""Replay recorded exchanges of EMQ 2.3.11 against a broker and compare (see README.md).

Python 3 standard library only. Nothing is sent anywhere but to the ports given."""
import argparse, base64, difflib, glob, hashlib, http.client, http.server, json, os, random, re, select, shlex
import socket, struct, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

RUN = b'RUNID0'                      # six bytes in the recorded data, replaced by a fresh id for each scenario
HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {1: 'CONNECT', 2: 'CONNACK', 3: 'PUBLISH', 4: 'PUBACK', 5: 'PUBREC', 6: 'PUBREL', 7: 'PUBCOMP', 8: 'SUBSCRIBE',
         9: 'SUBACK', 10: 'UNSUBSCRIBE', 11: 'UNSUBACK', 12: 'PINGREQ', 13: 'PINGRESP', 14: 'DISCONNECT'}


# ---------------------------------------------------------------- showing and normalising
def show(b):
    if len(b) > 160:
        return '%s...(%d bytes, sha1 %s)' % (show(b[:24])[:-1], len(b), hashlib.sha1(b).hexdigest()[:10]) + '"'
    try:
        t = b.decode('utf8')
        if all(c.isprintable() for c in t):
            return json.dumps(t, ensure_ascii=False)
    except UnicodeDecodeError:
        pass
    return '"' + ''.join(chr(c) if 32 <= c < 127 and c not in (34, 92) else '\\x%02x' % c for c in b) + '"'


DT = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'
UP = r'(?:\d+ (?:days|hours|minutes), )*\d+ seconds'


def njson(o, key=None):
    """Replace what changes from run to run by a placeholder, but only where the form is right."""
    if isinstance(o, dict):
        return {k: njson(v, k) for k, v in o.items()}
    if isinstance(o, list):
        return [njson(v, key) for v in o]
    if isinstance(o, bool) or o is None:
        return o
    if isinstance(o, (int, float)):
        if key in ('ts', 'connected_at') and 1e9 < o < 1e10:
            return '<seconds>'
        if key in ('port', 'process_available', 'process_used', 'max_fds', 'clients', 'current_clients'):
            return '<int>'
        return o
    if key in ('connected_at', 'created_at', 'datetime') and re.fullmatch(DT, o):
        return '<datetime>'
    if key == 'uptime' and re.fullmatch(UP, o):
        return '<uptime>'
    if key in ('memory_total', 'memory_used') and re.fullmatch(r'[\d.]+[KMG]?', o):
        return '<memory>'
    if key in ('load1', 'load5', 'load15') and re.fullmatch(r'\d+\.\d\d', o):
        return '<load>'
    if key in ('otp_release', 'sysdescr', 'version'):
        return '<text>'
    if key == 'listen' and re.fullmatch(r'(?:[\d.]+:)?\d+', o):
        return '<address>'
    if key == 'client_id' or key == 'from_client_id' or key == 'clientid':
        return re.sub(r'^emqttd_\d+$', 'emqttd_<digits>', o)
    return o


def ntext(t):
    t = re.sub(r'<\d+\.\d+\.\d+>', '<pid>', t)
    t = re.sub(DT, '<datetime>', t)
    t = re.sub(r'(uptime *: *)' + UP, r'\1<uptime>', t)
    t = re.sub(r'(connected_at|created_at)=\d{10}\b', r'\1=<seconds>', t)
    t = re.sub(r'(\d+\.\d+\.\d+\.\d+):\d{2,5}\b', r'\1:<port>', t)
    t = re.sub(r'(dashboard:http:|stomp:|mqtt:\w+:)\d{2,5}\b(?!\.)', r'\1<port>', t)
    t = re.sub(r'emqttd_\d{6,}', 'emqttd_<digits>', t)
    t = re.sub(r'^(sysdescr *: ).*$', r'\1<text>', t, flags=re.M)
    t = re.sub(r'^(version *: ).*$', r'\1<version>', t, flags=re.M)
    t = re.sub(r'\b(emqttd |version=)\d+\.\d+[\w.-]*', r'\1<version>', t)
    return t


def payload(b):
    if b[:1] in (b'{', b'['):
        try:
            return 'json:' + json.dumps(njson(json.loads(b)), sort_keys=True)
        except ValueError:
            pass
    return show(b)


# ---------------------------------------------------------------- MQTT
def mstr(b, i):
    n = struct.unpack('>H', b[i:i + 2])[0]
    return b[i + 2:i + 2 + n], i + 2 + n


def describe(h, b):
    """Short text of one MQTT packet (both directions)."""
    t = h >> 4
    try:
        if t == 1:
            proto, i = mstr(b, 0)
            lv, fl, ka = b[i], b[i + 1], struct.unpack('>H', b[i + 2:i + 4])[0]
            cid, i = mstr(b, i + 4)
            o = 'CONNECT %s/%d flags=%02x keepalive=%d id=%s' % (proto.decode('latin1'), lv, fl, ka, show(cid))
            if fl & 4:
                wt, i = mstr(b, i)
                wm, i = mstr(b, i)
                o += ' will q%d r%d %s %s' % (fl >> 3 & 3, fl >> 5 & 1, show(wt), show(wm))
            if fl & 0x80:
                u, i = mstr(b, i)
                o += ' user=' + show(u)
            if fl & 0x40:
                p, i = mstr(b, i)
                o += ' pass=' + show(p)
            return o
        if t == 2:
            return 'CONNACK present=%d code=%d' % (b[0], b[1])
        if t == 3:
            q = h >> 1 & 3
            top, i = mstr(b, 0)
            pid = ''
            if q:
                pid = ' id=%d' % struct.unpack('>H', b[i:i + 2])
                i += 2
            return 'PUBLISH q%d r%d d%d%s %s %s' % (q, h & 1, h >> 3 & 1, pid, show(top), payload(b[i:]))
        if t in (4, 5, 6, 7, 11) and len(b) == 2:
            return '%s id=%d' % (NAMES[t], struct.unpack('>H', b)[0])
        if t == 8:
            i, o = 2, []
            while i < len(b):
                f, i = mstr(b, i)
                o.append('%s q%d' % (show(f), b[i]))
                i += 1
            return 'SUBSCRIBE id=%d %s' % (struct.unpack('>H', b[:2])[0], ', '.join(o))
        if t == 9:
            return 'SUBACK id=%d %s' % (struct.unpack('>H', b[:2])[0], ' '.join('%02x' % x for x in b[2:]))
        if t == 10:
            i, o = 2, []
            while i < len(b):
                f, i = mstr(b, i)
                o.append(show(f))
            return 'UNSUBSCRIBE id=%d %s' % (struct.unpack('>H', b[:2])[0], ', '.join(o))
        if t in (12, 13, 14) and not b:
            return NAMES[t]
    except (struct.error, IndexError):
        pass
    return '%s(malformed) %02x %s' % (NAMES.get(t, 'TYPE%d' % t), h, b[:40].hex())


def split_mqtt(buf):
    """First packet of buf as (header, body, rest), None when incomplete."""
    if len(buf) < 2:
        return None
    n, m, i = 0, 1, 1
    while True:
        if i >= len(buf):
            return None
        c = buf[i]
        n += (c & 127) * m
        m *= 128
        i += 1
        if not c & 128:
            break
        if i > 5:
            return None
    if len(buf) < i + n:
        return None
    return buf[0], buf[i:i + n], buf[i + n:]


class Conn:
    """A TCP connection whose input is turned into a list of texts: MQTT, MQTT in WebSocket, or STOMP."""

    def __init__(self, ctx, via, port):
        self.ctx, self.via, self.buf, self.inner, self.out, self.closed = ctx, via, b'', b'', [], False
        self.ids = []
        try:
            self.s = socket.create_connection((ctx.opt.host, port), timeout=10)
        except OSError as e:
            self.s, self.closed, self.out = None, True, ['REFUSED %s' % e.__class__.__name__]

    def handshake(self, path, proto, extra=''):
        req = ('GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: '
               'dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n' %
               (path, 'Sec-WebSocket-Protocol: %s\r\n' % proto if proto else '', extra))
        self.s.sendall(req.encode())
        end, b = time.time() + 5, b''
        while b'\r\n\r\n' not in b and time.time() < end:
            if select.select([self.s], [], [], 0.2)[0]:
                d = self.s.recv(65536)
                if not d:
                    self.closed = True
                    break
                b += d
        head, _, self.buf = b.partition(b'\r\n\r\n')
        lines = head.decode('latin1').split('\r\n')
        hd = {k.strip().lower(): v.strip() for k, _, v in (x.partition(':') for x in lines[1:])}
        st = lines[0].split(' ')[1] if ' ' in lines[0] else 'none'
        if st != '101':
            return ['HTTP ' + st]
        return ['HTTP 101 accept=%s protocol=%s' % (hd.get('sec-websocket-accept'), hd.get('sec-websocket-protocol'))]

    def send(self, b, ws=None):
        if not self.s:
            return
        if self.via == 'ws' and ws != 'raw':
            ws = ws or {}
            op = ws.get('op', 2) | (0x80 if ws.get('fin', 1) else 0)
            mask = b'\x11\x22\x33\x44'
            ln = bytes([0x80 | len(b)]) if len(b) < 126 else b'\xfe' + struct.pack('>H', len(b)) if len(b) < 65536 else \
                b'\xff' + struct.pack('>Q', len(b))
            b = bytes([op]) + ln + mask + bytes(c ^ mask[i & 3] for i, c in enumerate(b))
        try:
            self.s.sendall(b)
        except OSError:
            pass

    def _parse(self):
        norm = self.ctx.norm_bytes
        if self.via == 'stomp':
            while self.buf:
                if self.buf[:1] == b'\n':
                    self.buf = self.buf[1:]
                    self.out.append('EOL')
                    continue
                m = re.search(rb'\ncontent-length:(\d+)\n', self.buf.split(b'\n\n')[0] + b'\n')
                h = self.buf.find(b'\n\n')
                if h < 0:
                    return
                end = h + 2 + int(m.group(1)) if m else self.buf.find(b'\0', h)
                if end < 0 or end >= len(self.buf):
                    return
                head, body, self.buf = self.buf[:h], self.buf[h + 2:end], self.buf[end + 1:]
                if self.buf[:1] == b'\n' and head[:9] != b'CONNECTED':
                    self.buf = self.buf[1:]
                ls = norm(head).decode('utf8', 'replace').split('\n')
                hs = sorted(re.sub(r'^server:.*', 'server:<text>', x) for x in ls[1:])
                self.out.append(' | '.join([ls[0]] + hs) + ' | body ' + payload(norm(body)))
            return
        if self.via == 'ws':
            while len(self.buf) >= 2:
                n, i = self.buf[1] & 127, 2
                if n == 126:
                    if len(self.buf) < 4:
                        return
                    n, i = struct.unpack('>H', self.buf[2:4])[0], 4
                elif n == 127:
                    if len(self.buf) < 10:
                        return
                    n, i = struct.unpack('>Q', self.buf[2:10])[0], 10
                if len(self.buf) < i + n:
                    return
                op, d, self.buf = self.buf[0] & 15, self.buf[i:i + n], self.buf[i + n:]
                if op in (0, 1, 2):
                    self.inner += d
                    self._mqtt('inner')
                else:
                    self.out.append('WS-' + {8: 'CLOSE', 9: 'PING', 10: 'PONG'}.get(op, str(op)) + ' ' + d.hex())
            return
        self._mqtt('buf')

    def _mqtt(self, attr):
        while True:
            p = split_mqtt(getattr(self, attr))
            if not p:
                return
            setattr(self, attr, p[2])
            h, b = p[0], self.ctx.norm_bytes(p[1])
            self.out.append(describe(h, b))
            if h >> 4 == 3 and h & 6:
                n = struct.unpack('>H', b[:2])[0]
                self.ids.append(struct.unpack('>H', b[2 + n:4 + n])[0])

    def poll(self, t):
        """Wait up to t seconds for input; True if there was any."""
        if self.closed or not self.s:
            time.sleep(min(t, 0.01))
            return False
        if not select.select([self.s], [], [], t)[0]:
            return False
        try:
            d = self.s.recv(262144)
        except OSError:
            d = b''
        if not d:
            self.closed = True
            self.out.append('CLOSED')
        else:
            self.buf += d
            self._parse()
        return True

    def close(self, clean=True):
        if self.s:
            try:
                if clean and self.via == 'mqtt' and not self.closed:
                    self.s.sendall(b'\xe0\x00')
                elif clean and self.via == 'ws' and not self.closed:
                    self.send(b'\xe0\x00')
                self.s.close()
            except OSError:
                pass
        self.s = None


# ---------------------------------------------------------------- UDP: CoAP, MQTT-SN
SN = {0: 'ADVERTISE', 1: 'SEARCHGW', 2: 'GWINFO', 4: 'CONNECT', 5: 'CONNACK', 6: 'WILLTOPICREQ', 7: 'WILLTOPIC', 8: 'WILLMSGREQ',
      9: 'WILLMSG', 10: 'REGISTER', 11: 'REGACK', 12: 'PUBLISH', 13: 'PUBACK', 14: 'PUBCOMP', 15: 'PUBREC', 16: 'PUBREL',
      18: 'SUBSCRIBE', 19: 'SUBACK', 20: 'UNSUBSCRIBE', 21: 'UNSUBACK', 22: 'PINGREQ', 23: 'PINGRESP', 24: 'DISCONNECT',
      26: 'WILLTOPICUPD', 27: 'WILLTOPICRESP', 28: 'WILLMSGUPD', 29: 'WILLMSGRESP'}


def describe_sn(d, names):
    if len(d) < 2:
        return 'SN ' + d.hex()
    t, b = d[1], d[2:]
    n = 'SN-' + SN.get(t, str(t))

    def tid(x, fl=0):
        if fl & 3 == 2:
            return show(x)
        v = struct.unpack('>H', x)[0]
        return '{%s}' % names[v] if v in names and not fl & 3 else str(v)
    try:
        if t == 10:
            return '%s topic=%s msg=<n> %s' % (n, tid(b[:2]), show(b[4:]))
        if t in (11, 13):
            return '%s topic=%s msg=%d code=%d' % (n, tid(b[:2]), struct.unpack('>H', b[2:4])[0], b[4])
        if t == 12:
            return '%s flags=%02x topic=%s msg=%s %s' % (n, b[0], tid(b[1:3], b[0]), '<n>' if b[0] & 0x60 else '0', show(b[5:]))
        if t == 19:
            return '%s flags=%02x topic=%s msg=%d code=%d' % (n, b[0], tid(b[1:3]), struct.unpack('>H', b[3:5])[0], b[5])
    except (struct.error, IndexError):
        pass
    return (n + ' ' + b.hex()).strip()


def coap_parse(d):
    t, tkl, c, i, n, opts = d[0] >> 4 & 3, d[0] & 15, d[1], 4 + (d[0] & 15), 0, []
    while i < len(d) and d[i] != 255:
        dl, ln = d[i] >> 4, d[i] & 15
        i += 1
        if dl == 13:
            dl, i = d[i] + 13, i + 1
        elif dl == 14:
            dl, i = struct.unpack('>H', d[i:i + 2])[0] + 269, i + 2
        if ln == 13:
            ln, i = d[i] + 13, i + 1
        elif ln == 14:
            ln, i = struct.unpack('>H', d[i:i + 2])[0] + 269, i + 2
        n += dl
        opts.append((n, d[i:i + ln]))
        i += ln
    return t, c, struct.unpack('>H', d[2:4])[0], d[4:4 + tkl], opts, d[i + 1:] if i < len(d) else b''


COAPOPT = {6: 'observe', 8: 'location-path', 11: 'uri-path', 12: 'content-format', 14: 'max-age', 15: 'uri-query', 4: 'etag'}


def describe_coap(d):
    try:
        t, c, mid, tok, opts, p = coap_parse(d)
    except (struct.error, IndexError):
        return 'COAP(malformed) ' + d.hex()
    o = []
    for n, v in opts:
        if n in (6, 12, 14):
            x = int.from_bytes(v, 'big')
            o.append('%s=%s' % (COAPOPT[n], '<n>' if n == 6 and c >> 5 else x))
        elif n == 4:
            continue
        else:
            o.append('%s=%s' % (COAPOPT.get(n, n), show(v)))
    return 'COAP %s %d.%02d mid=%s token=%s [%s] %s' % (
        ['CON', 'NON', 'ACK', 'RST'][t], c >> 5, c & 31, mid if t > 1 or not c >> 5 else '<n>', show(tok), ', '.join(o), show(p))


class Udp:
    def __init__(self, ctx, kind, port):
        self.ctx, self.kind, self.out, self.closed, self.names = ctx, kind, [], False, {}
        self.last = None
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(('127.0.0.1', 0) if ctx.opt.host in ('127.0.0.1', 'localhost') else ('', 0))
        self.s.connect((ctx.opt.host, port))

    def send(self, b, ws=None):
        try:
            self.s.send(b)
        except OSError:
            pass

    def poll(self, t):
        if not select.select([self.s], [], [], t)[0]:
            return False
        try:
            d = self.s.recv(65536)
        except OSError:
            self.out.append('UNREACHABLE')
            return True
        if self.kind == 'coap':
            if d[0] >> 4 & 3 == 0 and d[1] >> 5:              # confirmable notification: acknowledge it
                self.s.send(bytes([0x60, 0]) + d[2:4])
            self.out.append(describe_coap(self.ctx.norm_bytes(d)))
        else:
            self.last = d
            self.out.append(describe_sn(self.ctx.norm_bytes(d), self.names))
        return True

    def close(self, clean=True):
        self.s.close()


# ---------------------------------------------------------------- web hook sink
class Sink:
    def __init__(self, port):
        self.got, sink = [], self
        self.lock = threading.Lock()

        class H(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                b = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                with sink.lock:
                    sink.got.append((self.path, self.headers.get('Content-Type'), b))
                self.send_response(200)
                self.send_header('Content-Length', '2')
                self.end_headers()
                self.wfile.write(b'ok')
            do_GET = do_PUT = do_POST

            def log_message(self, *a):
                pass
        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.srv = http.server.ThreadingHTTPServer(('127.0.0.1', port), H)
        self.srv.daemon_threads = True
        threading.Thread(target=self.srv.serve_forever, daemon=True).start()


# ---------------------------------------------------------------- one scenario
class Skip(Exception):
    pass


class Ctx:
    def __init__(self, opt, sc, record):
        self.opt, self.sc, self.record = opt, sc, record
        self.rid = (random.choice('bcdfghjk') + ''.join(random.choice('0123456789bcdfgh') for _ in range(5))).encode()
        self.conns, self.fail, self.trace, self.base, self.done, self.vars = {}, None, [], None, False, {}
        self.hookpos = len(opt.sink.got) if opt.sink else 0

    def norm_bytes(self, b):
        return b.replace(self.rid, RUN)

    def sub_text(self, t):
        return t.replace(RUN.decode(), self.rid.decode())

    def norm_text(self, t):
        return t.replace(self.rid.decode(), RUN.decode())

    def hexbytes(self, st):
        h = st['send']
        for k, v in self.vars.items():
            h = h.replace('{%s}' % k, '%04x' % v)
        return bytes.fromhex(h).replace(RUN, self.rid)

    # -- steps that compare
    def judge(self, i, st, got):
        """Record or compare. Lists of strings, or any JSON value."""
        if self.record:
            st['expect'] = got
            return
        want = st.get('expect')

        def eq(w):
            if isinstance(w, list) and isinstance(got, list) and st.get('unordered'):
                return sorted(map(str, w)) == sorted(map(str, got))
            if isinstance(w, list) and isinstance(got, list) and st.get('subset'):
                return all(x in got for x in w)
            return w == got
        alts = st.get('accept')
        orig = eq(want)
        if alts is not None and not (self.opt.original):
            if any(eq(a) for a in alts) or (st.get('original_ok') and orig):
                if not orig and not st.get('go_on'):
                    self.done = True
                return
            self.fail = (i, st, {'one of': alts}, got)
        elif not orig:
            self.fail = (i, st, want, got)

    def collect(self, c, st):
        """Texts that arrive on connection c."""
        scale, quiet = self.opt.slow, st.get('quiet', 0.3 if not self.record else 0.5) * self.opt.slow
        first = st.get('wait', 0)
        want = None
        if not self.record:
            cands = [st.get('expect') or []] + (st.get('accept') or [])
            want = max(cands, key=len)
            if st.get('accept') and not self.opt.original:
                want = max(st['accept'], key=len)
        t0 = time.time()
        if self.record:
            limit = t0 + max(first, 0.6)
            while time.time() < limit and not c.closed:
                if c.poll(max(0.01, limit - time.time())):
                    limit = max(limit if st.get('all') else 0, time.time() + quiet)
        elif want:
            limit = t0 + max(first, 3.0) * scale
            while len(c.out) < len(want) and time.time() < limit and not c.closed:
                c.poll(min(0.5, max(0.01, limit - time.time())))
            end = time.time() + (0 if 'CLOSED' in c.out else quiet * 0.5)
            if st.get('all'):
                end = max(end, t0 + first)
            while time.time() < end and not c.closed:
                c.poll(max(0.01, end - time.time()))
        else:
            end = t0 + max(first, quiet)
            while time.time() < end and not c.closed:
                c.poll(max(0.01, end - time.time()))
        got, c.out = c.out, []
        if st.get('drop'):
            got = [x for x in got if not re.search(st['drop'], x)]
        if st.get('names'):
            got = sorted(set(re.sub(r'(PUBLISH q\d r\d)( d\d)?( id=\d+)? ("(?:[^"\\]|\\.)*").*', r'\1 \4', x) for x in got))
        if st.get('mask'):
            got = [re.sub(st['mask'][0], st['mask'][1], x) for x in got]
        return got

    def cli(self, argv):
        try:
            r = subprocess.run(self.opt.ctl + [self.sub_text(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, timeout=60)
            return r.returncode, r.stdout.decode('utf8', 'replace')
        except subprocess.TimeoutExpired:
            return -1, 'TIMEOUT'

    def http(self, rq):
        port = {'api': self.opt.api_port, 'ws': self.opt.ws_port, 'dashboard': self.opt.dashboard_port}[rq.get('port', 'api')]
        if not port:
            raise Skip('no port given for ' + rq.get('port', 'api'))
        h = {}
        if rq.get('auth', 'admin:public'):
            h['Authorization'] = 'Basic ' + base64.b64encode(rq.get('auth', 'admin:public').encode()).decode()
        h.update(rq.get('headers', {}))
        body = rq.get('body')
        if body is not None:
            if not isinstance(body, str):
                body = json.dumps(body)
            body = self.sub_text(body).encode()
            h.setdefault('Content-Type', 'application/json')
        c = http.client.HTTPConnection(self.opt.host, port, timeout=15)
        try:
            c.request(rq['method'], self.sub_text(rq['path']), body, h)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        except (OSError, http.client.HTTPException) as e:
            return 0, {}, e.__class__.__name__.encode()
        finally:
            c.close()

    def mine(self, o):
        if isinstance(o, dict):
            return {k: ('<int>' if k in ('total_num', 'total_page') and isinstance(v, int) else self.mine(v)) for k, v in o.items()}
        if isinstance(o, list):
            if o and all(isinstance(x, dict) for x in o):
                return sorted((x for x in o if RUN.decode() in json.dumps(x)), key=lambda x: json.dumps(x, sort_keys=True))
            return o
        return o

    def types(self, o):
        if isinstance(o, dict):
            return {k: '<any>' if k == 'shutdown_count' else self.types(v) for k, v in o.items()}
        if isinstance(o, list):
            seen = []
            for x in map(self.types, o):
                if x not in seen:
                    seen.append(x)
            return seen
        return '<%s>' % type(o).__name__

    def metrics(self):
        if not self.opt.api_port:
            if not self.opt.ctl:
                raise Skip('neither --api-port nor --ctl given')
            lines = [x.rpartition(':') for x in self.cli(['broker', 'metrics'])[1].split('\n')]
            return {n.strip(): int(v) for n, _, v in lines if v.strip().isdigit()}
        st, _, b = self.http({'method': 'GET', 'path': '/api/v2/monitoring/metrics/' + self.opt.node})
        try:
            return json.loads(b)['result']
        except (ValueError, KeyError, TypeError):
            return {}

    def step(self, i, st):
        o = self.opt
        if 'open' in st:
            via = st.get('via', 'mqtt')
            port = {'mqtt': o.mqtt_port, 'ws': o.ws_port, 'stomp': o.stomp_port, 'sn': o.sn_port, 'coap': o.coap_port}[via]
            if not port:
                raise Skip('no port given for ' + via)
            if via in ('sn', 'coap'):
                self.conns[st['open']] = Udp(self, via, port)
                return
            c = self.conns[st['open']] = Conn(self, via, port)
            if via == 'ws' and c.s:
                self.judge(i, st, c.handshake(st.get('path', '/mqtt'), st.get('proto', 'mqtt'), st.get('headers', '')))
        elif 'send' in st:
            c = self.conns[st['conn']]
            b = self.hexbytes(st)
            if st.get('parts'):                                # send in pieces
                n = st['parts']
                for k in range(0, len(b), n):
                    c.send(b[k:k + n], st.get('ws'))
                    time.sleep(0.02)
            else:
                c.send(b, st.get('ws'))
        elif 'read' in st:
            c = self.conns[st['read']]
            got = self.collect(c, st)
            if st.get('capture') and getattr(c, 'last', None):
                off = {11: 2, 19: 3, 10: 2}.get(c.last[1], 2)
                v = struct.unpack('>H', c.last[off:off + 2])[0]
                self.vars[st['capture']] = v
                c.names[v] = st['capture']
                got = [re.sub(r'topic=%d\b' % v, 'topic={%s}' % st['capture'], x) for x in got]
            self.judge(i, st, got)
        elif 'multi' in st:                                    # what a set of connections got, together, in no order
            got = []
            for k in st['multi']:
                got += self.collect(self.conns[k], dict(st, expect=None, accept=None, wait=st.get('wait', 0.8)) if not self.record else st)
            self.judge(i, st, sorted(got))
        elif 'time_close' in st:                               # seconds until the server closes, to one of the bounds
            c, t0 = self.conns[st['time_close']], time.time()
            while not c.closed and time.time() < t0 + st['max'] + 3:
                c.poll(0.1)
            dt = time.time() - t0
            got = 'open' if not c.closed else 'closed between %g and %g s' % (st['min'], st['max']) \
                if st['min'] <= dt <= st['max'] * o.slow else 'closed after %.1f s' % dt
            self.judge(i, st, got)
        elif 'shut' in st:
            c = self.conns[st['shut']]
            if st.get('rst') and c.s:
                c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            c.close(False)
        elif 'sleep' in st:
            time.sleep(st['sleep'])
        elif 'cli' in st:
            if not o.ctl:
                raise Skip('no --ctl given')
            rc, out = self.cli(st['cli'])
            if st.get('ignore'):
                return
            out = ntext(self.norm_text(out))
            lines = out.split('\n')
            while lines and not lines[-1]:
                lines.pop()
            if st.get('only'):
                lines = [x for x in lines if re.search(st['only'], x)]
            if st.get('names'):
                lines = [re.sub(r'(:\s*)\d+$', r'\1<n>', x) for x in lines]
            if st.get('mask'):
                lines = [re.sub(st['mask'][0], st['mask'][1], x) for x in lines]
            if st.get('sorted'):
                lines = sorted(lines)
            self.judge(i, st, {'exit': rc, 'text': lines})
        elif 'http' in st:
            status, hd, b = self.http(st['http'])
            got = {'status': status}
            for k in st.get('headers', ['content-type']):
                got[k] = hd.get(k)
            b = self.norm_bytes(b)
            try:
                j = njson(json.loads(b)) if b[:1] in (b'{', b'[') else None
            except ValueError:
                j = None
            if j is not None:
                if st.get('select') == 'mine':
                    j = {k: self.mine2(v) for k, v in j.items()}
                if st.get('select') == 'types':
                    j = self.types(j)
                if st.get('pick'):                             # only rows whose key has this value
                    k, v = st['pick']
                    j['result'] = [x for x in j['result'] if x.get(k) == v]
                got['json'] = j
            else:
                got['body'] = ntext(b.decode('utf8', 'replace'))
            if st.get('ignore'):
                return
            self.judge(i, st, got)
        elif 'hook' in st:
            if not o.sink:
                raise Skip('no --hook-port given')
            time.sleep(st.get('wait', 0.7) * o.slow)
            with o.sink.lock:
                new = o.sink.got[self.hookpos:]
                self.hookpos = len(o.sink.got)
            got = []
            for path, ct, b in new:
                b = self.norm_bytes(b)
                if RUN in b or st.get('any'):
                    got.append(('%s ' % (ct or 'no-content-type')).split(';')[0].strip() + ' ' + payload(b))
            self.judge(i, st, got)
        elif 'metrics' in st:
            if st['metrics'] == 'start':
                self.base = self.metrics()
            else:
                now = self.metrics()
                self.judge(i, st, {k: now.get(k, 0) - self.base.get(k, 0) for k in st['metrics']})
        elif 'note' in st:
            pass
        else:
            raise ValueError('unknown step %r' % st)

    def mine2(self, v):
        if isinstance(v, list) and v and all(isinstance(x, dict) for x in v):
            return sorted((x for x in v if RUN.decode() in json.dumps(x)), key=lambda x: json.dumps(x, sort_keys=True))
        return self.mine(v)

    def run(self):
        try:
            for i, st in enumerate(self.sc['steps']):
                self.step(i, st)
                if self.fail or self.done:
                    break
        finally:
            for c in self.conns.values():
                c.close()
            for st in self.sc.get('cleanup', []):
                try:
                    self.step(-1, dict(st, ignore=True))
                except Exception:
                    pass


def step_text(st):
    if 'send' in st:
        return 'send on %s: %s' % (st['conn'], st.get('text') or st['send'])
    for k in ('read', 'open', 'shut', 'time_close', 'multi', 'sleep', 'cli', 'http', 'hook', 'metrics', 'note'):
        if k in st:
            v = st[k]
            if k == 'cli':
                v = ' '.join(v)
            if k == 'http':
                v = '%s %s %s' % (v['method'], v['path'], json.dumps(v['body']) if 'body' in v else '')
            return '%s %s' % (k, v)
    return str(st)


def lines_of(v):
    if isinstance(v, list):
        return [str(x) for x in v] or ['(nothing)']
    return json.dumps(v, indent=1, sort_keys=True, ensure_ascii=False).split('\n')


def report(sc, ctx, verbose):
    i, st, want, got = ctx.fail
    out = ['FAIL %s  %s' % (sc['id'], sc['title'])]
    for k, s in enumerate(sc['steps'][:i]):
        if verbose or k >= i - 3:
            out.append('     %2d %s' % (k, step_text(s)))
    out.append('  -> %2d %s' % (i, step_text(st)))
    w, g = lines_of(want), lines_of(got)
    if len(w) > 12 and len(g) > 12:
        return '\n'.join(out + ['        ' + x.rstrip() for x in difflib.unified_diff(w, g, 'expected', 'got', n=1)][:len(out) + 60])
    out += ['        expected: ' + x for x in w[:40]]
    out += ['        got:      ' + x + ('' if x in w else '   <<<') for x in g[:40]]
    return '\n'.join(out)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--host', default='127.0.0.1')
    for n in ('mqtt', 'api', 'ws', 'stomp', 'sn', 'coap', 'dashboard', 'hook'):
        ap.add_argument('--%s-port' % n, type=int, default=0)
    ap.add_argument('--ctl', default='', help="command that acts as emqttd_ctl")
    ap.add_argument('--node', default='emq@127.0.0.1')
    ap.add_argument('--profile', default='a', help='which configuration the broker runs with (README.md)')
    ap.add_argument('--area', action='append')
    ap.add_argument('--only', help='regular expression on scenario ids')
    ap.add_argument('--list', action='store_true')
    ap.add_argument('--verbose', action='store_true')
    ap.add_argument('--original', action='store_true', help='the broker is the original: "differs" must equal the recording too')
    ap.add_argument('--vm', action='store_true', help='also run the scenarios tagged vm')
    ap.add_argument('--slow', type=float, default=1.0, help='factor on the waiting times')
    ap.add_argument('--jobs', type=int, default=6, help='scenarios at a time, in the areas that allow it')
    ap.add_argument('--record', action='store_true', help='store what the broker answers as the expected data')
    ap.add_argument('--skip', help='file of scenarios that are not run: id, blanks, reason')
    ap.add_argument('--json', help='write ids of passed, failed and skipped scenarios here')
    opt = ap.parse_args()
    opt.ctl = shlex.split(opt.ctl)
    left_out = {}
    if opt.skip:
        for line in open(opt.skip, encoding='utf8'):
            if line.strip() and not line.startswith('#'):
                sid, _, why = line.strip().partition(' ')
                if not why.strip():
                    sys.exit('%s: %s has no reason' % (opt.skip, sid))
                left_out[sid] = why.strip()
    opt.sink = Sink(opt.hook_port) if opt.hook_port else None
    files, res, texts = [], {'passed': [], 'failed': [], 'skipped': {}}, {}
    for f in sorted(glob.glob(os.path.join(HERE, 'scenarios', '*.json'))):
        d = json.load(open(f))
        if opt.area and d['area'] not in opt.area:
            continue
        files.append((f, d))
    unknown = set(left_out) - {s['id'] for _, d in files for s in d['scenarios']}
    if unknown and not opt.area:
        sys.exit('%s: no such scenarios: %s' % (opt.skip, ', '.join(sorted(unknown))))
    if opt.list:
        tot = {}
        for f, d in files:
            for s in d['scenarios']:
                print('%-8s %-8s %-40s %s' % (s.get('tag', 'same'), 'profile ' + d.get('profile', 'a'), s['id'], s['title']))
                tot[s.get('tag', 'same')] = tot.get(s.get('tag', 'same'), 0) + 1
        print(', '.join('%d %s' % (v, k) for k, v in sorted(tot.items())))
        return 0

    def one(sc):
        tag = sc.get('tag', 'same')
        if opt.only and not re.search(opt.only, sc['id']):
            return sc, None, 'not selected'
        if sc['id'] in left_out:
            return sc, None, left_out[sc['id']]
        if tag == 'vm' and not (opt.vm or opt.record or opt.original):
            return sc, None, 'vm'
        if tag == 'differs' and not (opt.original or opt.record) and not any('accept' in s for s in sc['steps']):
            return sc, None, 'differs, to be judged by hand: ' + sc.get('instead', '')
        ctx = None
        try:
            for attempt in (0, 1):
                ctx = Ctx(opt, sc, opt.record)
                ctx.run()
                if not ctx.fail or not sc.get('retry'):
                    break
        except Skip as e:
            return sc, None, str(e)
        except Exception as e:                                 # a broken answer must not stop the run
            if not ctx.fail:
                ctx.fail = (0, {'note': 'runner'}, 'no exception', repr(e))
        return sc, ctx, None
    t0 = time.time()
    for f, d in files:
        if d.get('profile', 'a') != opt.profile:
            for s in d['scenarios']:
                res['skipped'][s['id']] = 'profile ' + d.get('profile', 'a')
            continue
        if opt.only and not any(re.search(opt.only, s['id']) for s in d['scenarios']):
            continue
        if d.get('setup') and opt.ctl:
            c = Ctx(opt, {'steps': []}, False)
            for st in d['setup']:
                c.step(-1, dict(st, ignore=True))
        n = opt.jobs if d.get('parallel') else 1
        with ThreadPoolExecutor(n) as ex:
            for sc, ctx, skip in ex.map(one, d['scenarios']):
                if skip == 'not selected':
                    continue
                if skip:
                    res['skipped'][sc['id']] = skip
                    if opt.verbose:
                        print('SKIP %s  %s' % (sc['id'], skip))
                elif ctx.fail:
                    res['failed'].append(sc['id'])
                    print(report(sc, ctx, opt.verbose), flush=True)
                else:
                    res['passed'].append(sc['id'])
                    if opt.verbose:
                        print('ok   %s' % sc['id'], flush=True)
        if d.get('teardown') and opt.ctl:
            c = Ctx(opt, {'steps': []}, False)
            for st in d['teardown']:
                c.step(-1, dict(st, ignore=True))
        if opt.record:
            json.dump(d, open(f, 'w'), indent=1, ensure_ascii=False)
            open(f, 'a').write('\n')
    if opt.json:
        json.dump(res, open(opt.json, 'w'), indent=1)
    print('%d passed, %d failed, %d skipped   (%.0f s)' % (len(res['passed']), len(res['failed']), len(res['skipped']), time.time() - t0))
    return 1 if res['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
