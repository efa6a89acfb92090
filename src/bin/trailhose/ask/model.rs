//! The plan of a question, made by a language model.

use super::UnderstoodQuestion;
use crate::args::ModelArgs;
use crate::components::Aws;
use jiff::Timestamp;
use tokio::sync::watch::Receiver;

/// Returns what the model understood, or `None` if the program was interrupted before the answer. Prints what is sent, and
/// the plan.
#[cfg(feature = "model")]
pub(super) async fn question(
    model: &str,
    args: &ModelArgs,
    question: &str,
    now: Timestamp,
    aws: &Aws,
    mut halt: Receiver<bool>,
) -> Result<Option<UnderstoodQuestion>, String> {
    let model = open(model, args, aws).await?;
    let name = model.name();
    anstream::eprintln!("sending the question and the names of fields to {name}; no events are sent");
    let made = tokio::select! {
        made = trailhose::model::plan(&*model, question, now) => made.map_err(|error| error.to_string())?,
        Ok(_) = halt.wait_for(|stop| *stop) => return Ok(None),
    };
    let plan = serde_json::to_string_pretty(&made.plan).map_err(|error| error.to_string())?;
    anstream::eprintln!("{name} returned this plan ({}):\n{plan}", made.usage);
    let question =
        trailhose::question::Question { plan: made.plan, has_default_span: made.has_default_span, note: None };
    Ok(Some(UnderstoodQuestion { question, model: Some(super::AnsweringModel { name, usage: made.usage }) }))
}

#[cfg(not(feature = "model"))]
pub(super) async fn question(
    _: &str,
    _: &ModelArgs,
    _: &str,
    _: Timestamp,
    _: &Aws,
    _: Receiver<bool>,
) -> Result<Option<UnderstoodQuestion>, String> {
    Err(crate::components::missing_feature("--model", "model"))
}

#[cfg(feature = "model")]
async fn open(model: &str, args: &ModelArgs, aws: &Aws) -> Result<Box<dyn trailhose::model::LanguageModel>, String> {
    if let Some(id) = model.strip_prefix("bedrock:") {
        if id.is_empty() {
            return Err("invalid --model: expected the ID of a model after bedrock:".into());
        }
        if args.model_name.is_some() || args.model_key_file.is_some() {
            return Err(
                "--model-name and --model-key-file apply to a URL: a model of Bedrock has its ID and uses the AWS \
                        credentials"
                    .into(),
            );
        }
        return open_bedrock(id, aws).await;
    }
    let Some(name) = &args.model_name else {
        return Err("--model URL requires --model-name with the name of the model, for example llama3.2".into());
    };
    let key = key(args)?;
    trailhose::model::OpenAiModel::new(model, name, key)
        .map(|model| Box::new(model) as Box<_>)
        .map_err(|error| format!("invalid --model: {error}"))
}

#[cfg(feature = "bedrock")]
async fn open_bedrock(id: &str, aws: &Aws) -> Result<Box<dyn trailhose::model::LanguageModel>, String> {
    Ok(Box::new(trailhose::model::BedrockModel::new(aws.config().await?, id)))
}

#[cfg(all(feature = "model", not(feature = "bedrock")))]
async fn open_bedrock(_: &str, _: &Aws) -> Result<Box<dyn trailhose::model::LanguageModel>, String> {
    Err(crate::components::missing_feature("--model bedrock:ID", "bedrock"))
}

/// The environment variable with the API key.
#[cfg(feature = "model")]
const KEY_VARIABLE: &str = "TRAILHOSE_MODEL_KEY";

/// The maximum size of a file with a key, in bytes.
#[cfg(feature = "model")]
const MAX_KEY_BYTES: u64 = 16 << 10;

/// Returns the API key, from the file or from the environment. An error does not contain it.
#[cfg(feature = "model")]
fn key(args: &ModelArgs) -> Result<Option<String>, String> {
    use std::io::Read as _;
    let (key, source) = match &args.model_key_file {
        Some(path) => {
            let source = format!("the key file {}", path.display());
            let mut bytes = Vec::new();
            let read = std::fs::File::open(path).and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes));
            read.map_err(|error| format!("cannot read {source}: {error}"))?;
            if bytes.len() as u64 > MAX_KEY_BYTES {
                return Err(format!(
                    "{source} has more than {MAX_KEY_BYTES} bytes: expected a file that contains only the key"
                ));
            }
            // An error of the conversion must not quote the bytes.
            let text = String::from_utf8(bytes).map_err(|_| format!("{source} is not UTF-8"))?;
            (text, source)
        }
        None => match std::env::var(KEY_VARIABLE) {
            Ok(text) => (text, format!("the variable {KEY_VARIABLE}")),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(_) => return Err(format!("the variable {KEY_VARIABLE} is not UTF-8")),
        },
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("{source} does not contain a key: expected one word"));
    }
    Ok(Some(key.to_owned()))
}
