"""A server on this machine that counts requests and can break off or redirect."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content`` under every path but /absent, after ``server.sent`` bytes it breaks off.

    /elsewhere/... redirects to ``server.elsewhere``.
    """

    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path == '/absent.pth':
            self.send_error(404)
            return
        if self.path.startswith('/elsewhere/'):
            self.send_response(302)
            self.send_header('Location', self.server.elsewhere)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header('Content-Length', str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.sent])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.content, server.sent, server.paths, server.elsewhere = b'', None, [], ''
        server.url = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
