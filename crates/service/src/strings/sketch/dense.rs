//! The dense encoding: 2^14 registers of six bits, lowest bits first, four to three bytes.

use super::REGISTERS;

/// Bytes of all registers.
pub(super) const DENSE_BYTES: usize = REGISTERS / 4 * 3;

/// All registers zero.
pub(super) fn empty() -> Vec<u8> {
    vec![0; DENSE_BYTES]
}

/// The registers, first to last.
pub(super) fn registers(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let (groups, _) = bytes.as_chunks::<3>();
    groups.iter().flat_map(|[a, b, c]| {
        [a & 0x3f, a >> 6 | (b & 0x0f) << 2, b >> 4 | (c & 0x03) << 4, c >> 2]
    })
}

/// Raises a register to `rank` if it is lower; whether it was.
pub(super) fn raise(bytes: &mut [u8], index: usize, rank: u8) -> bool {
    let (groups, _) = bytes.as_chunks_mut::<3>();
    let Some(group) = groups.get_mut(index / 4) else {
        return false;
    };
    let [a, b, c] = *group;
    let word = u32::from_le_bytes([a, b, c, 0]);
    let shift = 6 * (index % 4);
    let rank = u32::from(rank & 0x3f);
    if word >> shift & 0x3f >= rank {
        return false;
    }
    let [a, b, c, _] = (word & !(0x3f << shift) | rank << shift).to_le_bytes();
    *group = [a, b, c];
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_do_not_touch_their_neighbours() {
        let mut bytes = empty();
        let mut plain = vec![0u8; REGISTERS];
        for step in 0..50_000usize {
            let index = step * 7_919 % REGISTERS;
            let rank = u8::try_from(step * 31 % 52).unwrap();
            assert_eq!(raise(&mut bytes, index, rank), plain[index] < rank);
            plain[index] = plain[index].max(rank);
        }
        assert!(registers(&bytes).eq(plain));
        assert!(!raise(&mut bytes, REGISTERS, 1));
    }
}
