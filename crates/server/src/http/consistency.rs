//! What a read must have seen, as clients say it: the header `breccia-consistency`, which in
//! gRPC is metadata.

use std::time::Duration;

use breccia_node::Consistency;
use breccia_types::RequestError;

use super::app::App;

pub(crate) use breccia_api::CONSISTENCY_METADATA as HEADER;

impl App {
    /// The same, whose reads see what the client asked for; everything acknowledged before if
    /// it said nothing.
    ///
    /// # Errors
    /// [`RequestError::InvalidArgument`].
    pub(crate) fn reading(&self, asked: Option<&[u8]>) -> Result<Self, RequestError> {
        let Some(asked) = asked else { return Ok(self.clone()) };
        let consistency = parse(asked)?;
        let node = self.node.reading(consistency);
        Ok(Self {
            #[cfg(feature = "functions")]
            functions: self.functions.at(node.clone()),
            node,
            ..self.clone()
        })
    }
}

fn parse(asked: &[u8]) -> Result<Consistency, RequestError> {
    let text = std::str::from_utf8(asked).unwrap_or_default().trim();
    let millis = text.strip_prefix("stale:").and_then(|millis| millis.parse().ok());
    match (text, millis) {
        ("linearizable", _) => Ok(Consistency::Linearizable),
        ("strict", _) => Ok(Consistency::Strict),
        (_, Some(millis)) => Ok(Consistency::Stale { max: Duration::from_millis(millis) }),
        _ => Err(RequestError::InvalidArgument {
            argument: HEADER,
            reason: "use linearizable, strict, or stale:MILLISECONDS".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_milliseconds_and_what_is_not_understood_is_refused() {
        let max = Duration::from_millis(1_500);
        assert_eq!(parse(b"stale:1500"), Ok(Consistency::Stale { max }));
        assert_eq!(parse(b" strict"), Ok(Consistency::Strict));
        for wrong in [&b""[..], b"stale", b"stale:", b"stale:1s", b"eventual", b"\xff"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
