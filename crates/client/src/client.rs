//! The client: where tables are opened, created, listed and dropped.

use std::sync::Arc;

use breccia_api::v1;
use breccia_types::{Column, TableOptions};

use crate::cluster::Cluster;
use crate::config::ClientBuilder;
use crate::error::Error;
use crate::request::Request;
use crate::tables::{CreateTable, DropTable, ListTables, OpenTable, SetColumns};
use crate::wire;

/// A client of one cluster. Clones share its connections, one to each node.
#[derive(Debug, Clone)]
pub struct Client(Arc<Cluster>);

impl Client {
    pub(crate) const fn new(cluster: Arc<Cluster>) -> Self {
        Self(cluster)
    }

    /// Connects to the cluster of the nodes at `addresses`: `host:port`, as `--http` has it.
    ///
    /// # Errors
    /// As those of [`ClientBuilder::connect`].
    pub async fn connect<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Self, Error> {
        Self::builder().connect(addresses).await
    }

    /// A client with other limits than the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Opens a table.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Code::UnknownTable`](crate::Code::UnknownTable) if there is
    /// none of this name.
    pub fn table(&self, name: &str) -> Request<OpenTable> {
        let message = v1::DescribeTableRequest { name: name.to_owned() };
        self.request(OpenTable { message })
    }

    /// All tables, by name.
    pub fn tables(&self) -> Request<ListTables> {
        self.request(ListTables)
    }

    /// Creates a table and opens it.
    ///
    /// ```no_run
    /// # async fn example(client: breccia_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use breccia_client::{Partition, TableOptions};
    ///
    /// let prices = client
    ///     .create_table("prices", TableOptions {
    ///         kind: "versioned".parse()?,
    ///         partition: Partition::Before(b'/'),
    ///         ..TableOptions::default()
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Code::TableExists`](crate::Code::TableExists) or
    /// [`Code::InvalidTable`](crate::Code::InvalidTable). It carries no request id: after
    /// [`Error::OutcomeUnknown`] look whether the table is there.
    pub fn create_table(&self, name: &str, options: TableOptions) -> Request<CreateTable> {
        let options = Some(wire::options_message(&options));
        let message = v1::CreateTableRequest { name: name.to_owned(), options };
        self.request(CreateTable { message })
    }

    /// Drops a table with all its rows.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Code::UnknownTable`](crate::Code::UnknownTable) or
    /// [`Code::TableProtected`](crate::Code::TableProtected). It carries no request id: after
    /// [`Error::OutcomeUnknown`] look whether the table is there.
    pub fn drop_table(&self, name: &str) -> Request<DropTable> {
        let message = v1::DropTableRequest { name: name.to_owned() };
        self.request(DropTable { message })
    }

    /// Notes which columns the JSON values of a table have, and how its keys are made from
    /// them, such as `{carrier}/{flight}`; what was noted before is forgotten.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Code::UnknownTable`](crate::Code::UnknownTable) or
    /// [`Code::InvalidArgument`](crate::Code::InvalidArgument).
    pub fn set_columns(
        &self,
        name: &str,
        columns: &[Column],
        key_template: Option<String>,
    ) -> Request<SetColumns> {
        let columns = columns.iter().map(wire::column_message).collect();
        let message = v1::SetColumnsRequest { name: name.to_owned(), columns, key_template };
        self.request(SetColumns { message })
    }

    fn request<O>(&self, operation: O) -> Request<O> {
        Request::new(Arc::clone(&self.0), operation)
    }
}
