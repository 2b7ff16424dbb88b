//! Questions about the server, and changes of its settings.

use super::super::clients::Client;
use super::super::command::Query;
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::front::Front;
use super::super::table;
use super::{cluster, commands, info};

/// Answers a query of a client.
///
/// # Errors
/// Why it cannot be answered. Nothing is encoded then.
pub(crate) async fn answer(
    front: &Front,
    client: &Client,
    query: &Query,
    encoder: &mut Encoder,
) -> Result<(), ReplyError> {
    match query {
        Query::Time => {
            let micros = front.node.clock().now().as_micros();
            encoder.array(2);
            encoder.bulk(micros.div_euclid(1_000_000).to_string().as_bytes());
            encoder.bulk(micros.rem_euclid(1_000_000).to_string().as_bytes());
        }
        Query::Info { sections } => {
            encoder.verbatim(&info::text(front, client, sections).await?);
        }
        Query::Help { container } => help(container, encoder),
        Query::Commands(query) => return commands::encode(encoder, query),
        Query::GetSettings { patterns } => {
            let settings = front.settings.get(patterns);
            encoder.map(settings.len());
            for (name, value) in settings {
                encoder.bulk(name.as_bytes());
                encoder.bulk(value.as_bytes());
            }
        }
        Query::ChangeSettings { changes } => {
            front.settings.change(changes)?;
            encoder.ok();
        }
        Query::ResetStatistics => {
            front.metrics.reset();
            encoder.ok();
        }
        Query::Cluster(query) => cluster::encode(encoder, front, client, *query).await,
    }
    Ok(())
}

fn help(container: &str, encoder: &mut Encoder) {
    let Some((_, spec)) = table::find(container.as_bytes()) else {
        return encoder.array(0);
    };
    let title = container.to_ascii_uppercase();
    encoder.array(1 + 2 * spec.subcommands.len());
    encoder.simple(&format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in spec.subcommands {
        encoder.simple(&sub.own_name().to_ascii_uppercase());
        encoder.simple(&format!("    {}", sub.summary));
    }
}
