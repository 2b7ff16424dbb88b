//! The gRPC interface of Breccia: the messages, clients and servers of package
//! `breccia.v1`. The `.proto` files say what each of them means.

/// Package `breccia.v1`, as generated from the `.proto` files.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    #![allow(clippy::indexing_slicing, clippy::wildcard_imports)]

    tonic::include_proto!("breccia.v1");
}

/// The `.proto` files, compiled: an encoded `google.protobuf.FileDescriptorSet` that is
/// complete (imports included). Server reflection answers from it.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("breccia");

/// Response metadata that names an error for programs, such as `unknown-table`.
pub const CODE_METADATA: &str = "breccia-code";
/// Metadata of a read, in REST a header: what it must have seen. `linearizable` is everything that
/// was acknowledged before, `strict` the same without trusting clocks, `stale:MILLISECONDS` what
/// was acknowledged longer ago than that, and any replica that has it may answer.
pub const CONSISTENCY_METADATA: &str = "breccia-consistency";
/// Response metadata that says who must act: `retry`, `fix` or `operator`.
pub const ACTOR_METADATA: &str = "breccia-actor";
