//! The models of these tests are stand-ins: a fixed answer, and an HTTP server on this computer that answers like an endpoint
//! for chat completions. No language model runs here.

use super::*;
use crate::plan::{Predicate, Scope, TimeSpan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const NOW: &str = "2026-11-27T12:00:00Z";

/// A model that gives a fixed answer.
#[derive(Debug)]
struct FixedAnswer(String);

#[async_trait]
impl LanguageModel for FixedAnswer {
    fn name(&self) -> String {
        "fixed".to_owned()
    }

    async fn answer(&self, _: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        Ok(ModelAnswer { text: self.0.clone(), usage: ModelUsage::default() })
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

async fn ask(question: &str, answer: &str) -> Result<ModelPlan, ModelError> {
    plan(&FixedAnswer(answer.to_owned()), question, now()).await
}

async fn refusal(question: &str, answer: &str) -> String {
    match ask(question, answer).await {
        Err(error) => error.to_string(),
        Ok(plan) => panic!("{answer}: {plan:?}"),
    }
}

const GOOD: &str = r#"{"time": "last 7 days", "event_id": null, "where": [
    {"not": false, "any": [{"field": "eventName", "equals": ["DeleteBucket"]}]},
    {"not": true, "any": [{"field": "errorCode", "prefix": ["AccessDenied"]}, {"field": "readOnly", "equals": ["true"]}]},
    {"not": false, "any": [{"field": "requestParameters.bucketName", "equals": ["reports-prod"]}]}],
    "events": null, "groups": {"by": ["principal"], "aggregates": ["count"], "having": [], "order": []}, "limit": null}"#;

const QUESTION: &str = "Who deleted the bucket reports-prod in the last 7 days?";

#[tokio::test]
async fn answer_becomes_a_plan_with_the_time_of_the_question() {
    let found = ask(QUESTION, GOOD).await.unwrap();
    let span = TimeSpan::parse("last 7 days", now()).unwrap();
    assert_eq!((found.plan.scope(), found.has_default_span), (&Scope::Time(span), false));
    let Predicate::All(all) = found.plan.predicate() else { panic!("{found:?}") };
    assert!(matches!(&all[..], [_, Predicate::Not(not), _] if matches!(&**not, Predicate::Any(any) if any.len() == 2)));
    let without_time = GOOD.replace(r#""last 7 days""#, "null");
    let found = ask("Who deleted the bucket reports-prod?", &without_time).await.unwrap();
    assert!(found.has_default_span);
    let Scope::Time(span) = found.plan.scope() else { panic!("{found:?}") };
    assert_eq!((span.since().to_string(), span.until()), ("2026-11-26T12:00:00Z".into(), now()));
}

#[tokio::test]
async fn answers_that_are_not_plans_are_refused() {
    for (answer, expected) in [
        ("", "it is empty"),
        ("The bucket was deleted by alice.", "not a JSON object"),
        ("SELECT * FROM events", "not a JSON object"),
        ("```json\n{}\n```", "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#"{"time": "last 7 days"}"#, "a plan needs events or groups"),
        (r#"{"time": "last 7 days", "sql": "DROP TABLE x"}"#, "unknown field `sql`"),
        (
            r#"{"time": "last 7 days", "where": {"field": "eventName"}, "events": {"order": "newest"}}"#,
            "where: invalid type",
        ),
        (r#"{"time": "last 7 days", "where": [{"any": []}], "events": {"order": "newest"}}"#, "missing field `not`"),
        (
            r#"{"time": "last 7 days", "where": [{"not": true, "any": []}], "events": {"order": "newest"}}"#,
            "has no test",
        ),
        (r#"{"time": 7, "groups": {"by": [], "aggregates": ["count"]}}"#, "time is not a text"),
        (r#"{"time": "last 7 days", "events": {"order": "as_read"}}"#, "newest or oldest"),
        (r#"{"time": "last 7 days", "events": {"order": "newest", "columns": []}}"#, "newest or oldest"),
        (r#"{"time": "last 7 days", "events": {"order": "newest"}, "limit": 10000001}"#, "limit is not a number"),
        (&GOOD.replace("requestParameters.bucketName", "bucket"), "unknown field"),
        (&GOOD.replace(r#""count""#, r#""delete""#), "unknown variant"),
    ] {
        let message = refusal(QUESTION, answer).await;
        assert!(message.contains(expected), "{answer}: {message}");
        assert!(message.contains("Nothing was searched. Write the question in other words"), "{message}");
    }
}

fn with_test(test: &str) -> String {
    format!(
        r#"{{"time": "last 7 days", "where": [{{"not": false, "any": [{test}]}}], "groups": {{"by": [], "aggregates": ["count"]}}}}"#
    )
}

#[tokio::test]
async fn values_that_are_not_in_the_question_are_refused() {
    for (test, expected) in [
        (r#"{"field": "recipientAccountId", "equals": ["444455556666"]}"#, "444455556666"),
        (r#"{"field": "userIdentity.accessKeyId", "equals": ["AKIAIOSFODNN7EXAMPLE"]}"#, "AKIAIOSFODNN7EXAMPLE"),
        (r#"{"field": "sourceIPAddress", "cidr": ["10.0.0.0/8"]}"#, "10.0.0.0/8"),
        (r#"{"field": "userIdentity.arn", "suffix": ["/mallory"]}"#, "mallory"),
        (r#"{"field": "requestParameters.bucketName", "equals": ["reports"]}"#, "reports"),
        (r#"{"anywhere": "secret"}"#, "secret"),
        (r#"{"not": {"field": "recipientAccountId", "equals": ["11112222"]}}"#, "11112222"),
        (r#"{"any": [{"field": "awsRegion", "equals": ["eu-west-1"]}]}"#, "eu-west-1"),
        (r#"{"field": "eventName", "equals": ["DropBucket"]}"#, "is not the name of an event"),
        (r#"{"field": "eventSource", "equals": ["s3"]}"#, "is not the event source"),
        (r#"{"field": "errorCode", "equals": ["NoSuchBucket"]}"#, "NoSuchBucket"),
    ] {
        let question = "What did 111122223333 do with reports-prod in the last 7 days?";
        let message = refusal(question, &with_test(test)).await;
        assert!(message.contains(expected) && message.contains("does not match the question"), "{test}: {message}");
    }
    for (question, test) in [
        ("Which calls were denied in the last 7 days?", r#"{"field": "errorCode", "equals": ["AccessDenied"]}"#),
        ("What did root do in the last 7 days?", r#"{"field": "userIdentity.type", "equals": ["Root"]}"#),
        ("What did alice do in the last 7 days?", r#"{"field": "userIdentity.arn", "suffix": ["/alice"]}"#),
        ("What came from 203.0.113.7 in the last 7 days?", r#"{"field": "sourceIPAddress", "cidr": ["203.0.113.7"]}"#),
        ("What was deleted in the last 7 days?", r#"{"field": "eventName", "prefix": ["Delete"]}"#),
        (
            "What did account 1111-2222-3333 do in the last 7 days?",
            r#"{"field": "recipientAccountId", "equals": ["111122223333"]}"#,
        ),
    ] {
        ask(question, &with_test(test)).await.unwrap_or_else(|error| panic!("{question}: {error}"));
    }
}

#[tokio::test]
async fn identifiers_that_the_plan_ignores_are_refused() {
    let test = r#"{"field": "eventName", "equals": ["DeleteBucket"]}"#;
    for identifier in ["444455556666", "AKIAIOSFODNN7EXAMPLE", "eu-west-1", "203.0.113.7", "10.0.0.0/8", "\"reports\""]
    {
        let question = format!("Who deleted a bucket in the last 7 days, {identifier}?");
        let message = refusal(&question, &with_test(test)).await;
        let expected = format!("the question names {:?}, and the plan does not", identifier.trim_matches('"'));
        assert!(message.contains(&expected), "{message}");
    }
}

#[tokio::test]
async fn times_that_are_not_in_the_question_are_refused() {
    let message = refusal(QUESTION, &GOOD.replace("last 7 days", "last 30 days")).await;
    assert!(message.contains("the plan has the time \"last 30 days\", and the question does not"), "{message}");
    let message = refusal(QUESTION, &GOOD.replace(r#""last 7 days""#, "null")).await;
    assert!(message.contains("the question has the time"), "{message}");
    let message = refusal(QUESTION, &GOOD.replace("last 7 days", "recently")).await;
    assert!(message.contains("is not a time"), "{message}");
}

#[tokio::test]
async fn schema_has_every_member_required_and_no_other() {
    fn check(schema: &Value) {
        match schema {
            Value::Object(members) => {
                if members.get("type") == Some(&"object".into()) {
                    assert_eq!(members["additionalProperties"], false);
                    let names: Vec<&str> =
                        members["required"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
                    assert_eq!(names.len(), members["properties"].as_object().unwrap().len());
                }
                members.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(&schema::schema());
}

/// Answers one request with this status and body, and returns the URL and the request.
async fn serve(status: u16, body: String) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.unwrap();
            request.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, received)) = text.split_once("\r\n\r\n") {
                let expected = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
                });
                if received.len() >= expected.unwrap() {
                    break;
                }
            }
        }
        let response =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        stream.write_all(response.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

fn completion(content: &str) -> String {
    serde_json::json!({"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]})
        .to_string()
}

#[tokio::test]
async fn endpoint_receives_the_question_and_the_schema_and_no_events() {
    let (url, served) = serve(200, completion(GOOD)).await;
    let model = OpenAiModel::new(&url, "llama", Some("the-key".into())).unwrap();
    assert!(!format!("{model:?}").contains("the-key"));
    plan(&model, QUESTION, now()).await.unwrap();
    let request = served.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer the-key"), "the header of the key");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["model"], "llama");
    assert_eq!(body["messages"][1], serde_json::json!({"role": "user", "content": QUESTION}));
    assert_eq!(body["response_format"]["json_schema"]["schema"], schema::schema());
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["max_tokens", "messages", "model", "response_format", "stream", "temperature"]);
}

#[tokio::test]
async fn failures_of_an_endpoint_are_explained_without_the_key() {
    let cases = [
        (400, "no json_schema".to_owned(), "may not support a JSON schema"),
        (401, r#"{"error":"wrong key the-key"}"#.to_owned(), "HTTP 401: give a valid key"),
        (429, "slow down".to_owned(), "too many requests"),
        (404, "model not found".to_owned(), "check the URL and the name of the model"),
        (500, "<html>".to_owned(), "HTTP 500"),
        (200, "not JSON".to_owned(), "not a chat completion"),
        (200, r#"{"choices":[]}"#.to_owned(), "no choice"),
        (200, "x".repeat(MAX_ANSWER_BYTES + 1), "exceeds"),
        (200, completion("I cannot answer this."), "is not a query plan"),
        (200, completion(""), "it is empty"),
    ];
    for (status, body, expected) in cases {
        let (url, served) = serve(status, body).await;
        let model = OpenAiModel::new(&url, "llama", Some("the-key".into())).unwrap();
        let message = plan(&model, QUESTION, now()).await.unwrap_err().to_string();
        served.abort();
        assert!(message.contains(expected), "{status} {expected}: {message}");
        assert!(!message.contains("the-key"), "{message}");
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let model = OpenAiModel::new(&url, "llama", None).unwrap();
    let message = plan(&model, QUESTION, now()).await.unwrap_err().to_string();
    assert!(message.contains("did not answer"), "{message}");
}

#[tokio::test]
async fn urls_and_questions_are_checked_before_a_request() {
    for (url, expected) in [
        ("ollama", "is not a model: expected bedrock:MODEL_ID, or a URL"),
        ("ftp://host/v1", "is not a model"),
        ("https://user:secret@host/v1", "contains a user name or a password"),
        ("http://example.com/v1", "without encryption"),
    ] {
        let message = OpenAiModel::new(url, "m", Some("the-key".into())).unwrap_err().to_string();
        assert!(message.contains(expected) && !message.contains("the-key") && !message.contains("secret"), "{message}");
    }
    assert!(OpenAiModel::new("http://example.com/v1/chat/completions", "m", None).is_ok());
    for question in ["", "  ", &"x".repeat(10_000)] {
        let error = ask(question, GOOD).await.unwrap_err();
        assert!(matches!(error, ModelError::Question(_)), "{error}");
    }
}
