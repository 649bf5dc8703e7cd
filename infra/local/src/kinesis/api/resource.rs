//! What a `ResourceARN` names: a stream, or one of its consumers.

use std::collections::BTreeMap;

use crate::kinesis::settings::Settings;
use crate::kinesis::store::Store;
use crate::kinesis::stream::Stream;
use crate::wire::ServiceError;

use super::validate::consumer_in_resource;
use super::{change_settings, own_resource, resource_not_found};

/// A stream, or one of its consumers.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) stream: Stream,
    /// The consumer's name.
    consumer: Option<String>,
    arn: String,
}

/// What both kinds have.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    pub(super) tags: &'a mut BTreeMap<String, String>,
    pub(super) policy: &'a mut Option<String>,
}

impl Resource {
    /// Finds what an ARN of the right shape names. Channels and queues are not here, so none is ever found.
    pub(super) fn find(store: &Store, arn: &str) -> Result<Self, ServiceError> {
        let not_found = || resource_not_found(arn);
        let resource = own_resource(arn)?;
        let (name, consumer) = match consumer_in_resource(resource) {
            Some((stream, consumer, created_s)) => (stream, Some((consumer, created_s))),
            None => (resource.strip_prefix("stream/").ok_or_else(not_found)?, None),
        };
        let stream = store.stream(name).ok_or_else(not_found)?;
        if let Some((consumer, created_s)) = consumer {
            let state = stream.state();
            let found = state.settings.consumers.get(consumer);
            found.filter(|found| found.created_ms.div_euclid(1_000) == created_s).ok_or_else(not_found)?;
        }
        let consumer = consumer.map(|(consumer, _)| consumer.to_owned());
        Ok(Self { stream, consumer, arn: arn.to_owned() })
    }

    /// What it has now.
    pub(super) fn read<T>(&self, read: impl FnOnce(Labels<'_>) -> T) -> Result<T, ServiceError> {
        let mut settings = self.stream.state().settings.clone();
        self.labels(&mut settings).map(read)
    }

    /// Changes what it has; `change` may refuse.
    pub(super) async fn change<T>(
        &self,
        change: impl FnOnce(Labels<'_>) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        change_settings(&self.stream, |settings| change(self.labels(settings)?)).await
    }

    fn labels<'a>(&self, settings: &'a mut Settings) -> Result<Labels<'a>, ServiceError> {
        match &self.consumer {
            None => Ok(Labels { tags: &mut settings.tags, policy: &mut settings.policy }),
            Some(name) => {
                let consumer = settings.consumers.get_mut(name).ok_or_else(|| resource_not_found(&self.arn))?;
                Ok(Labels { tags: &mut consumer.tags, policy: &mut consumer.policy })
            }
        }
    }
}
