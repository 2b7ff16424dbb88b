//! HyperLogLog sketches as Redis stores them in strings: PFADD, PFCOUNT and PFMERGE.
//!
//! A sketch is 16 bytes of header and then its 2^14 registers, sparse (`sparse.rs`) or
//! dense (`dense.rs`):
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | `HYLL` |
//! | 4 | 0 dense, 1 sparse |
//! | 5..8 | unused, kept as they are |
//! | 8..16 | an estimate made earlier, little-endian; the highest bit set if it is stale |
//!
//! Strings that Redis wrote are read here and the other way round, and the same additions
//! leave the same bytes. One thing differs: a count is a read and writes nothing, so an
//! estimate is never kept here, only used if the string came with one.

mod dense;
mod estimate;
mod hash;
mod sparse;

use breccia_types::strings::StringRefusal;

use self::dense::DENSE_BYTES;
use self::estimate::Histogram;
use self::hash::Trace;
use self::sparse::{Corrupt, Raised};

/// How many registers a sketch has.
const REGISTERS: usize = 1 << 14;
const HEADER_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"HYLL";
const ENCODING_DENSE: u8 = 0;
const ENCODING_SPARSE: u8 = 1;
/// In the header's last byte: the estimate in it is stale.
const STALE: u8 = 0x80;

/// The estimated number of distinct elements in the union of sketches; 0 for none.
///
/// # Errors
/// [`StringRefusal::NotASketch`] or [`StringRefusal::CorruptSketch`].
pub fn count(values: &[&[u8]]) -> Result<u64, StringRefusal> {
    let mut histogram = Histogram::new();
    match values {
        [] => return Ok(0),
        [value] => {
            let sketch = Sketch::parse(value)?;
            if let Some(estimate) = sketch.header.estimate() {
                return Ok(estimate);
            }
            sketch.registers.each(|rank, length| histogram.add(rank, length))?;
        }
        values => {
            let mut union = Union::new();
            for value in values {
                union.include(&Sketch::parse(value)?)?;
            }
            union.highest.iter().for_each(|rank| histogram.add(*rank, 1));
        }
    }
    Ok(histogram.estimate())
}

/// The sketch with more elements in it, or `None` if that changes nothing. No sketch is an
/// empty one that is not there: to add nothing to it makes one.
///
/// # Errors
/// [`StringRefusal::NotASketch`] or [`StringRefusal::CorruptSketch`].
pub fn add<E: AsRef<[u8]>>(
    existing: Option<&[u8]>,
    elements: &[E],
) -> Result<Option<Vec<u8>>, StringRefusal> {
    let mut sketch = existing.map_or_else(|| Ok(Sketch::empty()), Sketch::parse)?;
    let mut changed = existing.is_none();
    for element in elements {
        let Trace { index, rank } = Trace::of(element.as_ref());
        changed |= sketch.registers.raise(index, rank)?;
    }
    Ok(changed.then(|| sketch.to_stale_bytes()))
}

/// The union of a sketch, if there is one, with others.
///
/// # Errors
/// [`StringRefusal::NotASketch`] or [`StringRefusal::CorruptSketch`].
pub fn merge(existing: Option<&[u8]>, sources: &[&[u8]]) -> Result<Vec<u8>, StringRefusal> {
    let mut merger = Merger::new(existing)?;
    for source in sources {
        merger.include(source)?;
    }
    merger.finish()
}

/// The union of sketches, taken in one after the other.
pub struct Merger {
    target: Sketch,
    union: Union,
}

impl Merger {
    /// Begins with a sketch, if there is one.
    ///
    /// # Errors
    /// As those of [`merge`].
    pub fn new(existing: Option<&[u8]>) -> Result<Self, StringRefusal> {
        let target = existing.map_or_else(|| Ok(Sketch::empty()), Sketch::parse)?;
        let mut union = Union::new();
        union.include(&target)?;
        Ok(Self { target, union })
    }

    /// Takes a sketch in.
    ///
    /// # Errors
    /// As those of [`merge`].
    pub fn include(&mut self, source: &[u8]) -> Result<(), StringRefusal> {
        self.union.include(&Sketch::parse(source)?)
    }

    /// The union.
    ///
    /// # Errors
    /// As those of [`merge`].
    pub fn finish(mut self) -> Result<Vec<u8>, StringRefusal> {
        if self.union.any_dense {
            self.target.registers.become_dense()?;
        }
        for (index, rank) in self.union.highest.iter().enumerate() {
            if *rank > 0 {
                self.target.registers.raise(index, *rank)?;
            }
        }
        Ok(self.target.to_stale_bytes())
    }
}

/// A sketch taken apart.
struct Sketch {
    header: Header,
    registers: Registers,
}

impl Sketch {
    fn empty() -> Self {
        let header = Header { unused: [0; 3], estimate: [0; 8] };
        Self { header, registers: Registers::Sparse(sparse::empty()) }
    }

    fn parse(value: &[u8]) -> Result<Self, StringRefusal> {
        let (header, body) =
            value.split_first_chunk::<HEADER_BYTES>().ok_or(StringRefusal::NotASketch)?;
        let [m0, m1, m2, m3, encoding, u0, u1, u2, estimate @ ..] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(StringRefusal::NotASketch);
        }
        let registers = match encoding {
            ENCODING_DENSE if body.len() == DENSE_BYTES => Registers::Dense(body.to_vec()),
            ENCODING_SPARSE => Registers::Sparse(body.to_vec()),
            _ => return Err(StringRefusal::NotASketch),
        };
        Ok(Self { header: Header { unused: [u0, u1, u2], estimate }, registers })
    }

    /// The sketch as a string, its estimate marked stale.
    fn to_stale_bytes(&self) -> Vec<u8> {
        let (encoding, body) = match &self.registers {
            Registers::Dense(body) => (ENCODING_DENSE, body),
            Registers::Sparse(body) => (ENCODING_SPARSE, body),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(encoding);
        bytes.extend_from_slice(&self.header.unused);
        let [estimate @ .., last] = self.header.estimate;
        bytes.extend_from_slice(&estimate);
        bytes.push(last | STALE);
        bytes.extend_from_slice(body);
        bytes
    }
}

/// The header without what the registers say themselves.
struct Header {
    unused: [u8; 3],
    estimate: [u8; 8],
}

impl Header {
    fn estimate(&self) -> Option<u64> {
        let [.., last] = self.estimate;
        (last & STALE == 0).then(|| u64::from_le_bytes(self.estimate))
    }
}

/// The registers in either encoding.
enum Registers {
    Dense(Vec<u8>),
    Sparse(Vec<u8>),
}

impl Registers {
    /// Calls `visit` with rank and length of runs that make up all registers, in order.
    fn each(&self, mut visit: impl FnMut(u8, usize)) -> Result<(), StringRefusal> {
        match self {
            Self::Dense(body) => dense::registers(body).for_each(|rank| visit(rank, 1)),
            Self::Sparse(body) => {
                for run in sparse::runs(body)? {
                    visit(run.rank, run.length);
                }
            }
        }
        Ok(())
    }

    /// Raises a register to `rank` if it is lower; whether it was.
    fn raise(&mut self, index: usize, rank: u8) -> Result<bool, StringRefusal> {
        if let Self::Sparse(body) = self {
            match sparse::raise(body, index, rank)? {
                Raised::No => return Ok(false),
                Raised::Yes => return Ok(true),
                Raised::NeedsDense => self.become_dense()?,
            }
        }
        match self {
            Self::Dense(body) => Ok(dense::raise(body, index, rank)),
            Self::Sparse(_) => Ok(false),
        }
    }

    fn become_dense(&mut self) -> Result<(), StringRefusal> {
        if let Self::Sparse(body) = self {
            let mut wide = dense::empty();
            let mut index = 0;
            for run in sparse::runs(body)? {
                for at in index..index + run.length {
                    dense::raise(&mut wide, at, run.rank);
                }
                index += run.length;
            }
            *self = Self::Dense(wide);
        }
        Ok(())
    }
}

/// The highest value of every register over several sketches.
struct Union {
    highest: Vec<u8>,
    any_dense: bool,
}

impl Union {
    fn new() -> Self {
        Self { highest: vec![0; REGISTERS], any_dense: false }
    }

    fn include(&mut self, sketch: &Sketch) -> Result<(), StringRefusal> {
        self.any_dense |= matches!(sketch.registers, Registers::Dense(_));
        let mut highest = self.highest.iter_mut();
        sketch.registers.each(|rank, length| {
            highest.by_ref().take(length).for_each(|register| *register = rank.max(*register));
        })
    }
}

impl From<Corrupt> for StringRefusal {
    fn from(_: Corrupt) -> Self {
        Self::CorruptSketch
    }
}

#[cfg(test)]
mod tests;
