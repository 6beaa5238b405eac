//! Saved states as text: one JSON document, with a line for each payment and each entry of another list. Both ways it
//! goes through in pieces, so that its size needs no memory.

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde::Serialize;
use serde::de::DeserializeSeed;
use serde_json::ser::Formatter;

use crate::gateway::state::{FORMAT, Restored, Restoring, Snapshot};
use crate::gateway::{Gateway, Settings, Timestamp};

/// How much is read or written at once.
const PIECE: usize = 256 * 1024;

/// Writes a state, with some facts for people.
pub fn write(snapshot: &Snapshot, info: impl Serialize, into: impl Write) -> io::Result<()> {
    let mut into = BufWriter::with_capacity(PIECE, into);
    let mut json = serde_json::Serializer::with_formatter(&mut into, Lines::default());
    snapshot.write(info, &mut json)?;
    into.write_all(b"\n")?;
    into.flush()
}

/// Returns how many bytes `write` writes.
pub fn length(snapshot: &Snapshot, info: impl Serialize) -> io::Result<u64> {
    let mut counted = Counted(0);
    write(snapshot, info, &mut counted)?;
    Ok(counted.0)
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A saved state that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read to its end.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// Its end is missing.
    #[error("it is cut off at line {0}: the rest is missing")]
    Truncated(usize),
    /// It has another format.
    #[error(
        "it has format {format} and was saved by version {version}; this is version {} and reads format {FORMAT}. Restore it with version {version}",
        env!("CARGO_PKG_VERSION")
    )]
    OtherFormat {
        /// The format.
        format: u64,
        /// The version that saved it.
        version: String,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Unusable(String),
}

/// Reads a state: the clock's time, and a gateway with these settings.
pub fn read(settings: &Settings, from: impl Read) -> Result<(Timestamp, Gateway), ReadError> {
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(PIECE, from));
    // An error tells line and column, and each payment has a line of its own. Tracking the path to each value, as for other
    // input, would make an allocation for each field.
    let restored = Restoring(settings).deserialize(&mut json);
    let restored = restored.and_then(|restored| json.end().map(|()| restored));
    match restored {
        Ok(Restored::World(now, gateway)) => Ok((now, *gateway)),
        Ok(Restored::OtherFormat { format, version }) => {
            Err(ReadError::OtherFormat { format, version: crate::gateway::values::excerpt(&version) })
        }
        Err(error) if error.is_io() => Err(ReadError::Io(error.into())),
        Err(error) if error.is_eof() => Err(ReadError::Truncated(error.line())),
        Err(error) => Err(ReadError::Unusable(error.to_string())),
    }
}

/// Writes compact JSON with a new line before what is directly in the document, in a list of it, or in one of `gateway`.
#[derive(Debug, Default)]
struct Lines {
    depth: usize,
}

/// How deep in the document what gets a line of its own may be.
const DEPTH: usize = 3;

impl Lines {
    fn separate<W: ?Sized + Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(match (first, self.depth <= DEPTH) {
            (true, true) => b"\n",
            (true, false) => b"",
            (false, true) => b",\n",
            (false, false) => b",",
        })
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        // An object in a list is a record, whose fields stay in its line.
        if self.depth == 1 { self.separate(writer, first) } else { writer.write_all(if first { b"" } else { b"," }) }
    }
}
