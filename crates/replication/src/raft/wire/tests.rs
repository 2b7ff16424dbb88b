use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use super::*;
use crate::raft::types::{LeaderId, LogEntry, Vote};

const ENVELOPE: Envelope =
    Envelope { shard: ShardId::new(300), from: ReplicaId::new(1), to: ReplicaId::new(u64::MAX) };

const STAMP: Stamp = Stamp { run: Run::new(u64::MAX - 1), micros: 1 << 40 };

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId::new(3, ReplicaId::new(8)), index)
}

fn vote() -> Vote {
    Vote::new_committed(4, ReplicaId::new(2))
}

#[test]
fn an_append_comes_back_with_its_envelope() {
    let request = AppendEntriesRequest {
        vote: vote(),
        prev_log_id: None,
        entries: vec![LogEntry { log_id: log_id(9), payload: EntryPayload::Blank }],
        leader_commit: Some(log_id(8)),
    };
    let lead_age = Duration::from_micros(40);
    let voucher = Voucher { echo: STAMP, lead_age, applied: LogIndex::new(7) };
    let message = ENVELOPE.enclose(|to| put_append(to, &request, Some(&voucher)));
    let (envelope, content) = Envelope::open(message).expect("an envelope");
    assert_eq!(envelope, ENVELOPE);
    let (vouched, taken) = take_append(content).expect("a request");
    assert_eq!(vouched, Some(voucher));
    assert_eq!(taken.entries, request.entries);
    assert_eq!((taken.vote, taken.prev_log_id), (request.vote, None));
    assert_eq!(taken.leader_commit, request.leader_commit);
}

#[test]
fn an_envelope_of_another_version_is_refused() {
    for version in [VERSION - 1, VERSION + 1] {
        let mut message = ENVELOPE.enclose(|_| ()).to_vec();
        message[0] = version;
        let opened = Envelope::open(Bytes::from(message)).map(|(envelope, _)| envelope);
        assert_eq!(opened, Err(DecodeError::UnknownVersion { version }));
    }
}

#[test]
fn the_age_in_a_voucher_is_never_rounded_down() {
    let lead_age = Duration::from_nanos(1_001);
    let voucher = Voucher { echo: STAMP, lead_age, applied: LogIndex::new(7) };
    let taken = take_voucher(&mut Reader::new(encoded(|to| put_voucher(to, &voucher))));
    assert_eq!(taken, Ok(Voucher { lead_age: Duration::from_micros(2), ..voucher }));
}

#[test]
fn replies_come_back_and_no_prefix_of_them_does() {
    for result in [
        Ok(None),
        Ok(Some(log_id(7))),
        Err(StreamAppendError::Conflict(log_id(1))),
        Err(StreamAppendError::HigherVote(vote())),
    ] {
        let message = encoded(|to| put_appended(to, STAMP, &result));
        assert_eq!(take_appended(message.clone()), Ok((STAMP, result)));
        for end in 0..message.len() {
            assert!(take_appended(message.slice(..end)).is_err());
        }
    }
    let refused = Refused::NotHosted { shard: ShardId::new(3), replica: ReplicaId::new(4) };
    let message = encoded(|to| put_not_appended(to, refused));
    assert_eq!(take_appended(message), Err(NoAnswer::Refused(refused)));
    let message = encoded(|to| put_transferred(to, &Ok(())));
    assert_eq!(take_transferred(message), Ok(Ok(())));
    let response = VoteResponse::new(vote(), Some(log_id(4)), true);
    assert_eq!(take_voted(encoded(|to| put_voted(to, &response))), Ok(response));
}

#[test]
fn a_vote_and_a_transfer_come_back() {
    let mut request = VoteRequest::new(vote(), Some(log_id(5)));
    request.leadership_transfer = true;
    let taken = take_vote_request(Reader::new(encoded(|to| put_vote_request(to, &request))));
    assert_eq!(taken, Ok(request));
    let request = TransferLeaderRequest::new(vote(), ReplicaId::new(3), Some(log_id(5)));
    let taken = take_transfer(Reader::new(encoded(|to| put_transfer(to, &request))));
    assert_eq!(taken, Ok(request));
}
