//! A command as it lies in the bytes that were received.

use bytes::Bytes;

/// Where an argument lies: from the first byte up to, not including, the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The arguments of one command, its name first. Nothing is copied: [`Arguments::bytes`]
/// shares the memory that was read into.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    chunk: &'a Bytes,
    places: &'a [Place],
}

impl<'a> Arguments<'a> {
    /// The arguments at these places of a chunk.
    pub(crate) const fn new(chunk: &'a Bytes, places: &'a [Place]) -> Self {
        Self { chunk, places }
    }

    /// How many there are, the name included.
    pub(crate) const fn len(&self) -> usize {
        self.places.len()
    }

    /// The argument at a position; empty beyond the last.
    pub(crate) fn get(&self, at: usize) -> &'a [u8] {
        match self.places.get(at) {
            Some(place) => self.chunk.get(place.start..place.end).unwrap_or_default(),
            None => &[],
        }
    }

    /// The argument at a position, to be kept; empty beyond the last.
    pub(crate) fn bytes(&self, at: usize) -> Bytes {
        match self.places.get(at) {
            Some(place) if place.start < place.end && place.end <= self.chunk.len() => {
                self.chunk.slice(place.start..place.end)
            }
            _ => Bytes::new(),
        }
    }

    /// The arguments from a position on.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let all = *self;
        (first..self.len()).map(move |at| all.get(at))
    }

    /// The arguments from a position on, to be kept.
    pub(crate) fn bytes_from(&self, first: usize) -> impl Iterator<Item = Bytes> + use<'a> {
        let all = *self;
        (first..self.len()).map(move |at| all.bytes(at))
    }

    /// Whether the argument at a position is this word, in any case.
    pub(crate) fn is(&self, at: usize, word: &str) -> bool {
        self.get(at).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Arguments made of words, for tests.
#[cfg(test)]
pub(crate) struct Words {
    chunk: Bytes,
    places: Vec<Place>,
}

#[cfg(test)]
impl Words {
    pub(crate) fn new<W: AsRef<[u8]>>(words: &[W]) -> Self {
        let mut chunk = Vec::new();
        let mut places = Vec::new();
        for word in words {
            let start = chunk.len();
            chunk.extend_from_slice(word.as_ref());
            places.push(Place { start, end: chunk.len() });
        }
        Self { chunk: chunk.into(), places }
    }

    pub(crate) fn arguments(&self) -> Arguments<'_> {
        Arguments::new(&self.chunk, &self.places)
    }
}
