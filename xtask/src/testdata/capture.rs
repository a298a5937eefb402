//! A capture file as it belongs on disk.

/// Its path below `testdata/` and all of its bytes.
#[derive(Clone)]
pub(super) struct Capture {
    pub(super) path: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Capture {
    pub(super) fn new(path: &'static str, bytes: Vec<u8>) -> Self {
        Self { path, bytes }
    }
}
