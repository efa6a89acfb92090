//! The tables, the workgroup, the policy for readers and the named queries of `template.yaml`.
//!
//! The SQL of the named queries is translated by sqlglot and run by DuckDB. It was not run on Athena: `tools/check-in-aws`
//! does that.

#[path = "lake/mod.rs"]
mod lake;
#[path = "template/resolve.rs"]
mod resolve;

use jiff::{ToSpan, Zoned, tz::TimeZone};
use lake::{AthenaQuery, LakeFiles};
use resolve::Resolved;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use trailhose::plan::Column;

/// Fields of the table `events` that no query plan can name.
const OTHER_FIELDS: [&str; 13] = [
    "userIdentity.sessionContext.sessionIssuer.principalId",
    "userIdentity.sessionContext.sessionIssuer.accountId",
    "userIdentity.sessionContext.attributes.creationDate",
    "userIdentity.sessionContext.webIdFederationData.federatedProvider",
    "userIdentity.sessionContext.ec2RoleDelivery",
    "userIdentity.onBehalfOf.identityStoreArn",
    "userIdentity.credentialId",
    "serviceEventDetails",
    "eventContext",
    "addendum",
    "edgeDeviceDetails",
    "insightDetails",
    "trailhose.oversize.location",
];

/// The paths of all fields, in the order of the table.
fn fields() -> Vec<Vec<String>> {
    let columns = Column::ALL.iter().filter(|column| !column.is_computed());
    let names = columns.map(|column| column.name()).chain(OTHER_FIELDS.map(str::to_owned));
    names.map(|name| name.split('.').map(str::to_owned).collect()).collect()
}

/// Returns the type in Hive's notation of the field that these paths lead into.
fn hive_type(paths: &[&[String]]) -> String {
    if paths.iter().all(|path| path.is_empty()) {
        return "string".to_owned();
    }
    let fields = by_first_name(paths.iter().copied());
    let fields: Vec<_> =
        fields.iter().map(|(name, rest)| format!("{}:{}", name.to_lowercase(), hive_type(rest))).collect();
    format!("struct<{}>", fields.join(","))
}

/// Groups paths by their first name, in the order of its first occurrence.
fn by_first_name<'a>(paths: impl Iterator<Item = &'a [String]>) -> Vec<(&'a str, Vec<&'a [String]>)> {
    let mut groups: Vec<(&str, Vec<&[String]>)> = Vec::new();
    for path in paths {
        let (name, rest) = path.split_first().unwrap();
        match groups.iter_mut().find(|group| group.0 == name) {
            Some(group) => group.1.push(rest),
            None => groups.push((name, vec![rest])),
        }
    }
    groups
}

#[test]
fn columns_and_mappings_are_the_fields_of_query_plans() {
    let template = lake::template();
    let tables = Resolved::new(&template, &[]).resources("AWS::Glue::Table");
    let storage = &tables["EventsTable"]["TableInput"]["StorageDescriptor"];
    let fields = fields();
    let expected: Vec<_> = by_first_name(fields.iter().map(Vec::as_slice))
        .into_iter()
        .map(|(name, rest)| json!({"Name": name.to_lowercase(), "Type": hive_type(&rest)}))
        .collect();
    let columns = storage["Columns"].as_array().unwrap();
    for (column, expected) in columns.iter().zip(&expected) {
        assert_eq!(column, expected);
    }
    assert_eq!(columns.len(), expected.len());

    let names: BTreeSet<_> = fields.iter().flatten().filter(|name| name.to_lowercase() != **name).collect();
    let expected: Map<_, _> = names.iter().map(|name| (name.to_lowercase(), Value::from(name.as_str()))).collect();
    // Two names that differ only in case would need the same key of the mappings.
    assert_eq!(expected.len(), names.len());
    assert_eq!(lake::mappings(&template), Value::from(expected));

    let serde = &storage["SerdeInfo"]["Parameters"];
    assert_eq!([&serde["case.insensitive"], &serde["ignore.malformed.json"]], ["FALSE", "FALSE"]);
    assert_eq!(storage["SerdeInfo"]["SerializationLibrary"], "org.openx.data.jsonserde.JsonSerDe");
}

#[test]
fn events_and_lines_have_the_files_and_days_of_the_stream() {
    let template = lake::template();
    let resolved = Resolved::new(&template, &[]);
    let tables = resolved.resources("AWS::Glue::Table");
    let stream = resolved.resource("AWS::KinesisFirehose::DeliveryStream");
    let prefix = "events/dt=!{timestamp:yyyy-MM-dd}/";
    assert_eq!(stream["ExtendedS3DestinationConfiguration"]["Prefix"], prefix);
    for name in ["EventsTable", "LinesTable"] {
        let table = &tables[name]["TableInput"];
        let parameters = &table["Parameters"];
        assert_eq!(table["PartitionKeys"], json!([{"Name": "dt", "Type": "string"}]));
        assert_eq!(parameters["projection.dt.format"], "yyyy-MM-dd");
        assert_eq!(parameters["projection.dt.range"], "2026-01-01,NOW+1DAYS");
        assert_eq!(parameters["storage.location.template"], json!("s3://${Lake}/events/dt=${!dt}/"));
    }
    assert_eq!(tables["OversizeTable"]["TableInput"]["StorageDescriptor"]["Location"], "s3://${Lake}/oversize/");
}

#[test]
fn tables_exist_unless_they_are_switched_off_or_the_stack_has_no_lake() {
    let template = lake::template();
    let kinds = ["AWS::Glue::Database", "AWS::Glue::Table", "AWS::Athena::WorkGroup", "AWS::IAM::ManagedPolicy"];
    let kinds = kinds.iter().chain(&["AWS::Athena::NamedQuery"]);
    for (parameters, exist) in [
        (&[][..], true),
        (&[("LakeTables", "false")], false),
        (&[("StreamName", "own"), ("OversizeBucketName", "own")], false),
    ] {
        let resolved = Resolved::new(&template, parameters);
        for kind in kinds.clone() {
            assert_eq!(resolved.resources(kind).is_empty(), !exist, "{kind} {parameters:?}");
        }
    }
}

#[test]
fn workgroup_limits_queries_and_encrypts_results() {
    let template = lake::template();
    let group = |parameters: &[(&str, &str)]| {
        Resolved::new(&template, parameters).resource("AWS::Athena::WorkGroup")["WorkGroupConfiguration"].clone()
    };
    let default = group(&[]);
    assert_eq!(default["EnforceWorkGroupConfiguration"], true);
    assert_eq!(default["BytesScannedCutoffPerQuery"], "107374182400");
    assert_eq!(default["ManagedQueryResultsConfiguration"], json!({"Enabled": true}));
    let with_key = group(&[("EncryptionKey", "create"), ("LakeQueryMaxBytes", "10000000")]);
    assert_eq!(with_key["BytesScannedCutoffPerQuery"], "10000000");
    let key = json!({"KmsKey": {"Fn::GetAtt": ["Key", "Arn"]}});
    assert_eq!(with_key["ManagedQueryResultsConfiguration"]["EncryptionConfiguration"], key);
}

/// The policy allows exactly these actions, each on named resources.
#[test]
fn policy_of_readers_allows_queries_and_nothing_else() {
    let template = lake::template();
    let statements = |parameters: &[(&str, &str)]| -> BTreeMap<String, Value> {
        let policy = Resolved::new(&template, parameters).resource("AWS::IAM::ManagedPolicy");
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap().clone();
        statements.into_iter().map(|statement| (statement["Sid"].as_str().unwrap().to_owned(), statement)).collect()
    };
    let allowed = |statements: &BTreeMap<String, Value>| -> BTreeSet<String> {
        let actions = statements.values().flat_map(|statement| match &statement["Action"] {
            Value::String(one) => vec![one.clone()],
            many => serde_json::from_value(many.clone()).unwrap(),
        });
        actions.collect()
    };
    let plain = statements(&[]);
    let expected = [
        "athena:BatchGetNamedQuery",
        "athena:GetNamedQuery",
        "athena:GetQueryExecution",
        "athena:GetQueryResults",
        "athena:GetQueryResultsStream",
        "athena:GetWorkGroup",
        "athena:ListNamedQueries",
        "athena:StartQueryExecution",
        "athena:StopQueryExecution",
        "glue:GetDatabase",
        "glue:GetTable",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
    ];
    assert_eq!(allowed(&plain), expected.map(str::to_owned).into());
    for statement in plain.values() {
        let resource = statement["Resource"].to_string();
        assert!(statement["Effect"] == "Allow" && !resource.contains("\"*\""), "{statement}");
    }
    let prefixes = &plain["ListEvents"]["Condition"]["StringLike"]["s3:prefix"];
    assert_eq!(prefixes, &json!(["events/*", "oversize/*", "compacted/*"]));

    let with_key = statements(&[("EncryptionKey", "create")]);
    let added: Vec<_> = with_key.keys().filter(|name| !plain.contains_key(*name)).collect();
    assert_eq!(added, ["DecryptEvents", "EncryptResults"]);
    for name in added {
        assert_eq!(with_key[name]["Resource"], json!({"Fn::GetAtt": ["Key", "Arn"]}));
        assert!(with_key[name]["Condition"].is_object(), "{name}");
    }
}

/// Each named query finds the event of `lake/incidents.json` with its name: without this event, its result differs.
#[test]
fn named_queries_find_what_they_are_named_for() {
    let template = lake::template();
    let resolved = Resolved::new(&template, &[]);
    let queries = resolved.resources("AWS::Athena::NamedQuery");
    let queries: BTreeMap<_, _> = queries
        .values()
        .map(|query| (query["Name"].as_str().unwrap(), query["QueryString"].as_str().unwrap().to_owned()))
        .collect();
    let incidents: BTreeMap<String, Value> = serde_json::from_str(include_str!("lake/incidents.json")).unwrap();
    assert!(queries.keys().eq(incidents.keys()), "{queries:?}");

    let folder = tempfile::tempdir().unwrap();
    let files: BTreeMap<_, _> =
        incidents.iter().map(|(name, event)| (name.as_str(), write(folder.path(), name, event.clone()))).collect();
    let without = |name: Option<&str>| LakeFiles {
        events: files.iter().filter(|file| Some(*file.0) != name).map(|file| file.1[0].clone()).collect(),
        // A table without files cannot be read by DuckDB.
        oversize: vec![files[if name == Some("oversize-events") { "deletions" } else { "oversize-events" }][1].clone()],
    };
    let mut asked = Vec::new();
    for (name, sql) in &queries {
        let bounds = sql.matches("current_date - interval '7' day").count();
        let expected = match *name {
            "oversize-events" => 0,
            "late-events" | "raw-lines" => 1,
            _ => 2,
        };
        assert_eq!((bounds, sql.matches("\nLIMIT ").count()), (expected, usize::from(*name != "raw-lines")), "{name}");
        asked.push(AthenaQuery { sql: sql.clone(), files: None });
        asked.push(AthenaQuery { sql: sql.clone(), files: Some(without(Some(name))) });
    }
    let results = lake::run(&template, &without(None), &asked);
    for (name, results) in queries.keys().zip(results.chunks(2)) {
        assert!(!results[0].is_empty(), "{name}");
        assert_ne!(results[0], results[1], "{name}");
    }
}

/// Writes an event as one file of the lake that arrived today, and as one of the oversize prefix.
fn write(folder: &Path, name: &str, mut event: Value) -> [std::path::PathBuf; 2] {
    let today = Zoned::now().with_time_zone(TimeZone::UTC);
    let days_ago = |days: i64| today.checked_sub(days.days()).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let defaults = json!({
        "eventVersion": "1.11",
        "eventTime": days_ago(1),
        "eventID": format!("00000000-0000-4000-9000-{:012}", name.len()),
        "recipientAccountId": "111122223333",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "aws-cli",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/Carol", "accountId": "111122223333"},
        "resources": [{"ARN": "arn:aws:s3:::reports"}],
        // Names that differ only in case.
        "requestParameters": {"tags": {"Name": "a", "name": "b"}},
    });
    if event["eventTime"] == "THREE_DAYS_AGO" {
        event["eventTime"] = days_ago(3).into();
    }
    for (name, value) in defaults.as_object().unwrap() {
        event.as_object_mut().unwrap().entry(name).or_insert_with(|| value.clone());
    }
    let day = folder.join(format!("events/dt={}", today.strftime("%Y-%m-%d")));
    let oversize = folder.join("oversize");
    [day, oversize].map(|folder| {
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.jsonl"));
        std::fs::write(&file, format!("{event}\n")).unwrap();
        file
    })
}
