use proptest::prelude::*;

use super::*;

const EPOCH: u32 = 0xfeed_beef;

fn decoded(encoded: &Encoded) -> Result<Frame, FrameError> {
    let head = Head::decode(&encoded.head, EPOCH, FRAME_BODY_BYTES_MAX)?;
    assert_eq!(head.body_bytes, encoded.body.len());
    Frame::decode(head, encoded.body.clone())
}

fn frames() -> Vec<Frame> {
    let body = Bytes::from_static(b"content");
    let mut frames = vec![
        Frame::Call { id: 1, method: Method(9), timeout_ms: 250, body: body.clone() },
        Frame::Cancel { id: u64::MAX },
        Frame::Open { id: 3, method: Method(255), header: body.clone() },
        Frame::Message { id: 4, body: body.clone() },
        Frame::End { id: 5 },
        Frame::Stop { id: 6 },
        Frame::Credit { id: 7, charge: u32::MAX },
        Frame::Ping,
        Frame::Pong,
        Frame::Goodbye,
    ];
    for verdict in Verdict::ALL {
        frames.push(Frame::Reply { id: 8, verdict, body: body.clone() });
        frames.push(Frame::Reset { id: 9, verdict });
    }
    frames
}

#[test]
fn frames_come_back_as_they_were() {
    for frame in frames() {
        assert_eq!(decoded(&frame.clone().encode(EPOCH)), Ok(frame));
    }
}

#[test]
fn a_calls_bytes_are_those_of_the_format() {
    let body = Bytes::from_static(b"hi");
    let call = Frame::Call { id: 0x0102, method: Method(7), timeout_ms: 1_000, body };
    let Encoded { head, body } = call.encode(EPOCH);
    let fixed: [u8; 24] =
        [1, 1, 7, 0, 0xfe, 0xed, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 2, 0, 0, 3, 0xe8];
    assert_eq!(head[..24], fixed);
    assert_eq!(head[24..28], crc32c::crc32c(&body).to_be_bytes());
    assert_eq!(head[28..], crc32c::crc32c(&head[..28]).to_be_bytes());
}

#[test]
fn a_frame_of_another_connection_is_not_taken() {
    let encoded = Frame::Ping.encode(EPOCH - 1);
    let error = FrameError::Epoch { ours: EPOCH, theirs: EPOCH - 1 };
    assert_eq!(decoded(&encoded), Err(error));
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_the_body_is_read() {
    let body = Bytes::from(vec![0; 11]);
    let encoded = Frame::Message { id: 1, body }.encode(EPOCH);
    let error = FrameError::TooLarge { bytes: 11, bytes_max: 10 };
    assert_eq!(Head::decode(&encoded.head, EPOCH, 10).map(|_| ()), Err(error));
}

proptest! {
    #[test]
    fn one_flipped_bit_anywhere_is_noticed(
        which in 0..26_usize,
        bit in 0..(HEAD_BYTES + 7) * 8,
    ) {
        let frames = frames();
        let Encoded { mut head, body } = frames[which].clone().encode(EPOCH);
        let mut body = body.to_vec();
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        match byte.checked_sub(HEAD_BYTES) {
            None => head[byte] ^= mask,
            Some(at) if at < body.len() => body[at] ^= mask,
            Some(_) => return Ok(()),
        }
        let read = decoded(&Encoded { head, body: body.into() });
        prop_assert!(read.is_err());
    }
}
