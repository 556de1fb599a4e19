"""What the tests of readers share."""

import gzip

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a file into a folder that is no language; content as text or bytes."""

    def write(name, content):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write
