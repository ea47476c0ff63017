"""A local HTTP server that answers like the Hugging Face Hub, and misbehaves on demand."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Serves files below /<owner>/<repository>/resolve/<revision>/<file>.

    `files` maps these paths to contents. `mishaps` are used up one for each GET of contents:
    an int: break off after so many bytes; "slow": send some bytes, then stall; "wrong": other
    bytes; "error": status 500; "no range": ignore that a range is asked for; None: as it should be.
    """

    def __init__(self):
        self.files, self.mishaps, self.ranges, self.heads = {}, [], [], []
        self.states_sha256 = self.knows_ranges = True
        self.stopped = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.head(self)

            def do_GET(self):
                hub.get(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    def head(self, request):
        self.heads.append(request.path)
        content = self.files.get(request.path)
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("X-Error-Message", "Entry not found")
        else:
            request.send_response(302)
            sha256 = hashlib.sha256(content).hexdigest()
            request.send_header("X-Repo-Commit", "c" * 40)
            request.send_header("X-Linked-Etag", f'"{sha256 if self.states_sha256 else "abc"}"')
            request.send_header("X-Linked-Size", str(len(content)))
            # Another host, as the Hub's: redirects to the same one are followed at once.
            cdn = self.url.replace("127.0.0.1", "localhost")
            request.send_header("Location", f"{cdn}/cdn{request.path}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def get(self, request):
        content = self.files.get(request.path.removeprefix("/cdn"))
        mishap = self.mishaps.pop(0) if self.mishaps else None
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if content is None or mishap == "error":
            request.send_error(404 if content is None else 500)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if mishap == "no range" or not self.knows_ranges:
            asked, start = None, 0
        if start >= len(content):
            request.send_error(416)
            return
        if mishap == "wrong":
            content = content[::-1]
        request.send_response(206 if asked else 200)
        request.send_header("Content-Length", str(len(content) - start))
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        end = start + mishap if isinstance(mishap, int) else len(content)
        request.wfile.write(content[start : start + 7] if mishap == "slow" else content[start:end])
        request.wfile.flush()
        if mishap == "slow":
            self.stopped.wait(5)
        if mishap is not None:
            request.close_connection = True
