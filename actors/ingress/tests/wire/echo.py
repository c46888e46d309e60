"""Answers every request with its first line and the length of its body, on a unix socket."""

import http.server
import socketserver
import sys


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            count = self.chunks()
        else:
            count = len(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        text = f"{self.command} {self.path} HTTP/1.1\nbody {count}\n".encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def chunks(self):
        count = 0
        while size := int(self.rfile.readline(), 16):
            count += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return count

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


Server(sys.argv[1], Echo).serve_forever()
