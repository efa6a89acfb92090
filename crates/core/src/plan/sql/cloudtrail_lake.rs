//! SQL of CloudTrail Lake for an event data store of CloudTrail events.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/query-supported-event-schemas.html>

use super::literal::json_path;
use super::{FieldSql, RenderError, SqlDialect, SqlStatement, bounds, render, text_literal_of_path};
use crate::plan::{Column, PathStep, Plan, QueryField, TimeSpan};

/// Maximum number of characters of a statement.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StartQuery.html>
const MAX_CHARS: usize = 10_000;

/// An event data store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDataStore {
    id: uuid::Uuid,
    region: Option<String>,
}

/// The error for a text that is not an ID or an ARN of an event data store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an event data store: expected its ID, or its ARN such as \
     arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/EXAMPLE-f852-4e8f-8bd1-bcf6cEXAMPLE"
)]
pub struct InvalidEventDataStore(String);

impl EventDataStore {
    /// Parses an ID or an ARN.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidEventDataStore> {
        let invalid = || InvalidEventDataStore(text.to_owned());
        let (id, region) = match text.split(':').collect::<Vec<_>>().as_slice() {
            [id] => (*id, None),
            ["arn", _, "cloudtrail", region, _, resource] => {
                (resource.strip_prefix("eventdatastore/").ok_or_else(invalid)?, Some((*region).to_owned()))
            }
            _ => return Err(invalid()),
        };
        let is_hyphenated = id.len() == 36;
        match id.parse() {
            Ok(id) if is_hyphenated => Ok(Self { id, region }),
            _ => Err(invalid()),
        }
    }

    /// Returns the ID.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Returns the region that the ARN names.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Renders a plan.
    ///
    /// # Errors
    /// A value contains a control character, or the statement is too long.
    pub fn statement(&self, plan: &Plan) -> Result<SqlStatement, RenderError> {
        render(plan, self)
    }
}

/// Event data stores are columnar, and a query is billed by the bytes of the columns that it reads. So `eventJson`, the whole
/// event, is read only for fields that have no column of their own.
impl SqlDialect for EventDataStore {
    fn max_chars(&self) -> usize {
        MAX_CHARS
    }

    fn table(&self) -> String {
        self.id()
    }

    fn event(&self) -> String {
        "eventJson".to_owned()
    }

    fn field(&self, field: &QueryField) -> FieldSql {
        match field {
            QueryField::Path(path) => match path.steps() {
                [PathStep::Name(name)] => {
                    FieldSql::plain(format!("element_at({}, {})", path.root().name(), text_literal_of_path(name)))
                }
                steps => FieldSql::at("eventJson", &json_path(&[path.root().name()], steps)),
            },
            QueryField::Column(column) => match column {
                Column::RequestParameters
                | Column::ResponseElements
                | Column::AdditionalEventData
                | Column::Resources => FieldSql::at("eventJson", &json_path(column.path(), &[])),
                Column::ReadOnly | Column::ManagementEvent => {
                    FieldSql::plain(format!("CAST({} AS varchar)", column.name()))
                }
                Column::EventTime => FieldSql::plain(self.time_text()),
                column => FieldSql::plain(column.name()),
            },
        }
    }

    fn time_text(&self) -> String {
        "date_format(eventTime, '%Y-%m-%dT%H:%i:%sZ')".to_owned()
    }

    fn time_order(&self) -> String {
        "eventTime".to_owned()
    }

    fn time_bounds(&self, span: TimeSpan) -> Vec<String> {
        let [since, until] = bounds(span).map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
        vec![format!("eventTime >= timestamp '{since}'"), format!("eventTime < timestamp '{until}'")]
    }

    // A row of the result contains its values by the names of their columns, so the names must be distinct.
    fn alias(&self, number: usize, _: &str) -> String {
        format!("c{}", number + 1)
    }
}
