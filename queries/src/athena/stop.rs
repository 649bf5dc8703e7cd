//! Stops a query when nobody waits for it any more, so that it costs nothing more and frees its place in the queue.

use aws_sdk_athena::Client;
use tokio::runtime::Handle;

/// Stops a query when dropped, unless disarmed.
#[derive(Debug)]
pub(super) struct StopOnDrop {
    client: Client,
    id: Option<String>,
}

impl StopOnDrop {
    pub(super) fn new(client: Client, id: String) -> Self {
        Self { client, id: Some(id) }
    }

    /// The query has come to an end.
    pub(super) fn disarm(mut self) {
        self.id = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else { return };
        let client = self.client.clone();
        // Not awaited: a drop cannot. A runtime that ends meanwhile leaves the query to Athena's own time limit.
        runtime.spawn(async move {
            if let Err(error) = client.stop_query_execution().query_execution_id(&id).send().await {
                tracing::warn!(id, error = &error as &dyn std::error::Error, "query was not stopped");
            }
        });
    }
}
