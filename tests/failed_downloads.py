"""What lies in a checkpoint's folder in place of its files after a download that failed."""

from __future__ import annotations

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:c7ea20001c6a0a841c77e252d8409f6a74fb27ac3dcc3a3c2f5fd3d8ff3eabc0\n"
    b"size 1867929118\n"
)
WEB_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>404</body></html>\n"
)
