"""Text files as users save them."""

import codecs


def as_utf8(data: bytes) -> bytes:
    r"""Return text that a user has saved in UTF-8 without the mark that some programs put first.

    PowerShell may write UTF-16, with another mark.

    Example:
        >>> as_utf8(b"\xef\xbb\xbfa.mp4"), as_utf8("a.mp4".encode("utf-16"))
        (b'a.mp4', b'a.mp4')
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)
