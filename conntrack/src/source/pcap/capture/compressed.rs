//! Decompression of captures, recognised by their magic number: gzip with any number of members, zstd with
//! any number of frames. Only one layer of compression is removed.

use std::{
    error::Error as _,
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    iter,
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Octets of the longest magic number.
const MAGIC: usize = 4;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Unsupported compressions, and their programs.
const OTHERS: [(&[u8], &str); 3] =
    [(&[0x04, 0x22, 0x4d, 0x18], "lz4"), (b"\xfd7zX", "xz"), (b"BZh", "bzip2")];

/// The decompressed octets; those of the reader itself if it is not compressed.
///
/// # Errors
/// Read errors, and unsupported compressions.
pub fn decompressed(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    reader.by_ref().take(MAGIC as u64).read_to_end(&mut start)?;
    if let Some((_, program)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let what = format!("it is compressed with {program}; pipe it through `{program} -dc`");
        return Err(io::Error::new(ErrorKind::Unsupported, what));
    }
    let is_gzip = start.starts_with(&GZIP);
    let is_zstd = start == ZSTD;
    let whole = Cursor::new(start).chain(reader);
    Ok(if is_gzip {
        Box::new(Named("gzip", MultiGzDecoder::new(BufReader::new(whole))))
    } else if is_zstd {
        Box::new(Named("zstd", Zstd::new(BufReader::new(whole))))
    } else {
        Box::new(whole)
    })
}

/// Adds the name of the compression to errors.
struct Named<R>(&'static str, R);

impl<R: Read> Read for Named<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Self(name, reader) = self;
        reader.read(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => io::Error::new(
                ErrorKind::UnexpectedEof,
                format!("truncated: {name} data end early"),
            ),
            kind => io::Error::new(kind, format!("{name}: {error}")),
        })
    }
}

/// zstd, frame by frame. The crate bounds memory: it refuses windows above 128 MiB, as zstd(1) does by
/// default.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
    /// The error to return after the decoded octets.
    truncated: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), is_in_frame: false, truncated: None }
    }

    /// Starts the next frame; `false` at the end.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.is_in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = &mut self.source.by_ref().take(length.into());
                    io::copy(skipped, &mut io::sink())?;
                }
                Err(error) => return Err(in_words(&error)),
            }
        }
        Ok(false)
    }

    /// Decodes a block. The decoder holds back a window of decoded octets until the frame ends, so a
    /// truncated frame is ended here to get them.
    fn decode_block(&mut self) -> io::Result<()> {
        const ONE: BlockDecodingStrategy = BlockDecodingStrategy::UptoBlocks(1);
        /// An empty raw block marked as the last, and a dummy checksum.
        const END: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];
        let Err(error) = self.decoder.decode_blocks(&mut self.source, ONE) else { return Ok(()) };
        let error = in_words(&error);
        if error.kind() != ErrorKind::UnexpectedEof {
            return Err(error);
        }
        self.decoder.decode_blocks(&END[..], ONE).map_err(|error| in_words(&error))?;
        self.truncated = Some(error);
        Ok(())
    }

    /// Checks a frame after its last octet was read.
    fn end_frame(&mut self) -> io::Result<()> {
        self.is_in_frame = false;
        if let Some(error) = self.truncated.take() {
            return Err(error);
        }
        let decoder = &self.decoder;
        match (decoder.get_checksum_from_data(), decoder.get_calculated_checksum()) {
            (Some(said), Some(found)) if said != found => {
                Err(io::Error::new(ErrorKind::InvalidData, "wrong checksum"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(bytes);
            }
            if !self.is_in_frame {
                if !self.begin_frame()? {
                    return Ok(0);
                }
            } else if self.decoder.is_finished() {
                self.end_frame()?;
            } else {
                self.decode_block()?;
            }
        }
    }
}

/// The error, with the kind of the read error that caused it.
fn in_words(error: &FrameDecoderError) -> io::Error {
    let mut causes = iter::successors(error.source(), |cause| (*cause).source());
    let read = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
    let kind = read.map_or(ErrorKind::InvalidData, io::Error::kind);
    io::Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"What is compressed here is a text, and nothing but a text.";

    fn read(octets: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut decompressed = decompressed(Cursor::new(octets))?;
        let mut text = Vec::new();
        decompressed.read_to_end(&mut text).map(|_length| text)
    }

    /// RFC 8878, section 3.1.1: no content size, a checksum, a window, and a raw block.
    fn zstd(window: u8, checksum: u32) -> Vec<u8> {
        let length = u32::try_from(TEXT.len()).expect("a short text");
        let block = (length << 3 | 1).to_le_bytes();
        let frame = [&ZSTD[..], &[0x04, window], &block[..3], TEXT];
        [&frame.concat()[..], &checksum.to_le_bytes()].concat()
    }

    #[test]
    fn what_is_not_compressed_is_as_it_was() {
        for octets in [&b""[..], b"x", b"abc", TEXT] {
            assert_eq!(read(octets.to_vec()).expect("readable"), octets);
        }
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let error = read(zstd(0, 0x1234_5678)).expect_err("wrong");
        assert_eq!(error.to_string(), "zstd: wrong checksum");
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused_before_anything_is_allocated() {
        const TERABYTE: u8 = 30 << 3;
        let error = read(zstd(TERABYTE, 0)).expect_err("refused");
        assert!(error.to_string().starts_with("zstd: "), "{error}");
    }

    #[test]
    fn every_cut_is_truncated_and_never_anything_else() {
        let whole = zstd(0, 0);
        for length in ZSTD.len()..whole.len() {
            let error = read(whole[..length].to_vec()).expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "length {length}: {error}");
            assert_eq!(error.to_string(), "truncated: zstd data end early");
        }
    }
}
