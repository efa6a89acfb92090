//! `trailhose ask --model`: what is sent to a model, and what its answers lead to.
//!
//! The models are stand-ins that return fixed answers, because a language model gives no reproducible ones. The one for
//! Bedrock validates each request with botocore's model of the service. The endpoint for chat completions is a server of this
//! test that returns the members which OpenAI documents.

mod bed;
mod laptop;

use bed::stand_in::StandIn;
use laptop::{Ran, text, trailhose, trailhose_at};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events/bucket");
const MODEL: &str = "eu.amazon.nova-pro-v1:0";
const QUESTION: &str = "who signed in to the console as root in 2026?";

/// The plan that the models return.
fn plan() -> Value {
    json!({
        "time": "in 2026",
        "event_id": null,
        "where": [
            {"not": false, "any": [{"field": "eventName", "equals": ["ConsoleLogin"]}]},
            {"not": false, "any": [{"field": "userIdentity.type", "equals": ["Root"]}]},
        ],
        "events": {"order": "newest"},
        "groups": null,
        "limit": null,
    })
}

fn answer(content: Value, reason: &str) -> Value {
    let usage = json!({"inputTokens": 812, "outputTokens": 64, "totalTokens": 876});
    let message = json!({"role": "assistant", "content": content});
    json!({"output": {"message": message}, "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 900}})
}

fn text_answer(text: &str) -> Value {
    answer(json!([{"text": text}]), "end_turn")
}

fn error(code: &str, message: &str) -> Value {
    json!({"Error": {"Code": code, "Message": message}})
}

fn bedrock(answers: Value) -> StandIn {
    StandIn::start(&json!({"bedrock-runtime": {"Converse": answers}}))
}

fn ask_bedrock(stand_in: &StandIn, question: &str, options: &[&str]) -> Ran {
    let mut command = trailhose_at(&stand_in.endpoint());
    command.args(["ask", SAMPLE, question, "--model", &format!("bedrock:{MODEL}")]).args(options);
    Ran(command.output().unwrap())
}

#[tokio::test]
async fn model_of_bedrock_receives_the_question_and_the_schema_and_its_plan_is_shown_and_run() {
    let stand_in = bedrock(text_answer(&plan().to_string()));
    let ran = ask_bedrock(&stand_in, QUESTION, &[]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let err = ran.err();
    let sent = format!("sending the question and the names of fields to bedrock:{MODEL}; no events are sent\n");
    assert!(err.starts_with(&sent), "{err}");
    let returned =
        format!("bedrock:{MODEL} returned this plan (812 input tokens and 64 output tokens):\n{{\n  \"time\": {{");
    // The plan is printed before what was searched for it.
    assert!(err.find(&returned).unwrap() < err.find("searched 497").unwrap(), "{err}");
    let restated = "The newest 100 events from 2026-01-01 through 2026-12-31 (UTC) where eventName is \"ConsoleLogin\" and \
                    userIdentity.type is \"Root\"";
    assert!(ran.out().starts_with(restated), "{}", ran.out());
    assert!(ran.out().contains("arn:aws:iam::444455556666:root"), "{}", ran.out());

    assert_eq!(stand_in.violations().await, json!([]));
    let requests = stand_in.requests().await;
    let [(_, request)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request["messages"], json!([{"role": "user", "content": [{"text": QUESTION}]}]));
    let format = &request["outputConfig"]["textFormat"];
    assert_eq!(format["type"], "json_schema");
    assert!(format["structure"]["jsonSchema"]["schema"].as_str().unwrap().contains("additionalProperties"));
    // Nothing of the 508 events was sent.
    let sent = request.to_string();
    for part in ["444455556666", "111122223333", "AWSLogs", "2026-02-28", "userAgent\":"] {
        assert!(!sent.contains(part), "{part} in {sent}");
    }

    let answer = ask_bedrock(&stand_in, QUESTION, &["--json"]).json();
    let model = json!({"name": format!("bedrock:{MODEL}"), "input_tokens": 812, "output_tokens": 64});
    assert_eq!((&answer["model"], &answer["events"]), (&model, &json!(1)));
    let shown = ask_bedrock(&stand_in, QUESTION, &["--show-plan"]);
    assert_eq!(shown.json()["events"]["order"], "newest", "{shown:?}");
}

#[tokio::test]
async fn model_without_structured_output_answers_with_a_tool() {
    let refused = error("ValidationException", "This model doesn't support the outputConfig.textFormat field.");
    let call = json!([
        {"text": "I will run the plan."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "query_plan", "input": plan()}},
    ]);
    let stand_in = bedrock(json!([refused, answer(call, "tool_use")]));
    let ran = ask_bedrock(&stand_in, QUESTION, &["--json"]);
    assert_eq!((ran.code(), ran.json()["events"].clone()), (0, json!(1)), "{ran:?}");
    assert_eq!(stand_in.violations().await, json!([]));
    let requests = stand_in.requests().await;
    assert_eq!(requests.len(), 2);
    let tools = &requests[1].1["toolConfig"];
    assert_eq!(tools["toolChoice"], json!({"tool": {"name": "query_plan"}}));
    assert!(tools["tools"][0]["toolSpec"]["inputSchema"]["json"]["properties"]["where"]["type"] == "array", "{tools}");
    assert_eq!(requests[1].1["outputConfig"], Value::Null);
}

#[tokio::test]
async fn answers_of_a_model_that_are_not_a_plan_of_the_question_run_nothing() {
    let mut foreign = plan();
    foreign["where"] = json!([{"not": false, "any": [{"field": "recipientAccountId", "equals": ["444455556666"]}]}]);
    let mut column = plan();
    column["where"] = json!([{"not": false, "any": [{"field": "password", "equals": ["x"]}]}]);
    let cases = [
        (text_answer("It was alice, on Monday."), "it is not a JSON object: \"It was alice, on Monday.\""),
        (text_answer("DROP TABLE events"), "it is not a JSON object"),
        (text_answer(&column.to_string()), "unknown field"),
        (
            text_answer(&foreign.to_string()),
            "searches recipientAccountId for \"444455556666\", which is not in the question",
        ),
        (answer(json!([{"text": "{"}]), "max_tokens"), "exceeds 4096 tokens: use another model"),
        (answer(json!([{"text": ""}]), "content_filtered"), "stopped with the reason content_filtered"),
    ];
    let stand_in = bedrock(cases.iter().map(|(answer, _)| answer.clone()).collect());
    for (_, expected) in &cases {
        let ran = ask_bedrock(&stand_in, QUESTION, &[]);
        assert_eq!((ran.code(), ran.out()), (2, String::new()), "{ran:?}");
        assert!(ran.err().contains(expected), "{expected}: {}", ran.err());
        assert!(!ran.err().contains(" events in "), "{}", ran.err());
    }
    assert_eq!(stand_in.violations().await, json!([]));
}

#[tokio::test]
async fn errors_of_bedrock_say_what_to_do() {
    let denied = "User: arn:aws:iam::111122223333:user/a is not authorized to perform: bedrock:InvokeModel on resource: r \
                  because no identity-based policy allows the bedrock:InvokeModel action";
    let on_demand = "Invocation of model ID x with on-demand throughput isn’t supported.";
    let cases = [
        (
            vec![error("AccessDeniedException", "You don't have access to the model with the specified model ID.")],
            format!("request access to the model {MODEL} in us-east-1, in Bedrock's console under Model access"),
        ),
        (vec![error("AccessDeniedException", denied)], format!("allow bedrock:InvokeModel on the model {MODEL}")),
        (
            vec![error("ThrottlingException", "Too many tokens"); 3],
            "try again in a minute, or raise the model's quota".into(),
        ),
        (vec![error("ResourceNotFoundException", "no such model")], "use a model ID that exists in us-east-1".into()),
        (vec![error("ModelTimeoutException", "too slow"); 3], "the model needed too long".into()),
        (vec![error("ValidationException", on_demand); 2], "use the ID of an inference profile".into()),
        (vec![error("ValidationException", "no tools"); 2], "a model that supports structured output or tools".into()),
        (vec![error("ExpiredTokenException", "expired")], "the session has expired: renew it".into()),
    ];
    for (answers, expected) in cases {
        let stand_in = bedrock(answers.into());
        let ran = ask_bedrock(&stand_in, QUESTION, &[]);
        assert_eq!((ran.code(), ran.out()), (2, String::new()), "{ran:?}");
        assert!(ran.err().contains(&expected), "{expected}: {}", ran.err());
    }
}

/// Answers each request with this status and body, until the test ends. Returns the URL and the requests.
fn endpoint(status: u16, body: String) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !is_complete(&request) {
                let length = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
            if sender.send(String::from_utf8(request).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, requests)
}

fn is_complete(request: &[u8]) -> bool {
    let request = String::from_utf8_lossy(request);
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    body.len() >= length.unwrap().parse().unwrap()
}

#[test]
fn endpoint_of_chat_completions_receives_the_key_of_a_file_which_is_never_printed() {
    let message = json!({"role": "assistant", "content": plan().to_string()});
    let completion = json!({
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 700, "completion_tokens": 50, "total_tokens": 750},
    });
    let (url, requests) = endpoint(200, completion.to_string());
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-secret-key\n").unwrap();
    let model = ["--model", &url, "--model-name", "llama3.2"];
    let mut command = trailhose();
    command.args(["ask", SAMPLE, QUESTION, "--model-key-file", text(&key)]).args(model).env("RUST_LOG", "trace");
    let ran = Ran(command.output().unwrap());
    assert_eq!(ran.code(), 0, "{ran:?}");
    let name = format!("llama3.2 at {url}/chat/completions");
    assert!(
        ran.err().contains(&format!("{name} returned this plan (700 input tokens and 50 output tokens)")),
        "{ran:?}"
    );
    assert!(ran.out().contains("arn:aws:iam::444455556666:root"), "{ran:?}");
    let request = requests.recv().unwrap();
    assert!(request.to_lowercase().contains("authorization: bearer sk-secret-key"), "no key");
    assert!(request.contains(QUESTION) && !request.contains("444455556666"), "{request}");

    // The same key in the environment, and an endpoint that repeats it in its error.
    let (url, requests) = endpoint(401, r#"{"error": {"message": "Incorrect API key: sk-secret-key"}}"#.into());
    let model = ["--model", &url, "--model-name", "llama3.2"];
    let mut command = trailhose();
    command.args(["ask", SAMPLE, QUESTION]).args(model).env("TRAILHOSE_MODEL_KEY", "sk-secret-key");
    let refused = Ran(command.output().unwrap());
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.err().contains("HTTP 401: give a valid key: --model-key-file"), "{refused:?}");
    assert!(requests.recv().unwrap().contains("Bearer sk-secret-key"), "no key");
    for ran in [ran, refused] {
        assert!(!format!("{}{}", ran.out(), ran.err()).contains("sk-secret"), "{ran:?}");
    }
}

#[test]
fn options_of_a_model_are_checked_before_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    // A key that is cut would be sent.
    let large = folder.path().join("large");
    std::fs::write(&large, "k".repeat((16 << 10) + 1)).unwrap();
    for (options, expected) in [
        (&["--model", "http://localhost:1/v1"][..], "--model URL requires --model-name"),
        (&["--model", "gpt", "--model-name", "m"], "\"gpt\" is not a model: expected bedrock:MODEL_ID, or a URL"),
        (&["--model", "bedrock:"], "expected the ID of a model after bedrock:"),
        (&["--model", "bedrock:x", "--model-name", "m"], "apply to a URL"),
        (&["--model-name", "m"], "--model <bedrock:ID|URL>"),
        (
            &["--model", "http://localhost:1/v1", "--model-name", "m", "--model-key-file", text(&empty)],
            "does not contain a key",
        ),
        (
            &["--model", "http://localhost:1/v1", "--model-name", "m", "--model-key-file", text(&large)],
            "large has more than 16384 bytes: expected a file that contains only the key",
        ),
        (&["--model", "http://localhost:1/v1", "--model-name", "m"], "check the URL and that the service is running"),
    ] {
        let ran = laptop::run(&[&["ask", SAMPLE, QUESTION][..], options].concat());
        assert_eq!(ran.code(), 2, "{ran:?}");
        assert!(ran.err().contains(expected), "{options:?}: {}", ran.err());
    }
}
