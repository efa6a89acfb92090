//! The unchanged template with the real programs, deployed by `sam deploy` to ministack with enforced policies. The
//! fault proxy is between the programs and the services that they call.
//!
//! Differences from AWS: The emulator has no TLS, so the TLS-only policy of the lake bucket is removed after the
//! deployment. The visibility timeout is shortened, because no test can wait half an hour for a failed message.
//! Firehose writes one uncompressed S3 object per record immediately.

mod detection;
pub mod lake;
mod missed;

use super::emulator::{Emulator, LambdaEndpoint, Policies};
use super::faults::Faults;
use super::http::Message;
use super::{REGION, root, tool};
use aws_sdk_sqs::types::QueueAttributeName;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The bucket with the CloudTrail logs.
pub const LOG_BUCKET: &str = "trail-logs";

const NAME: &str = "trailhose";

/// A deployed stack.
pub struct Stack {
    /// The proxy between the functions and the services.
    pub faults: Faults,
    /// Client of the tests, with the account's root user.
    pub s3: aws_sdk_s3::Client,
    /// Client of the tests, with the account's root user.
    pub sqs: aws_sdk_sqs::Client,
    /// Client of the tests, with the account's root user.
    pub dynamodb: aws_sdk_dynamodb::Client,
    outputs: HashMap<String, String>,
    // The last field, because it must outlive its clients.
    emulator: Emulator,
}

impl Stack {
    /// Deploys the stack with this program as its ingest function, and sends it the notifications of the log bucket.
    /// Takes about 20 s. Failed messages become visible after 5 s: see [`Stack::set_visibility`]. The schedule of the
    /// backfill does not fire.
    pub async fn deploy(program: &Path) -> Self {
        Self::deploy_with(program, &[]).await
    }

    /// [`Stack::deploy`] with parameters of the template, each as `Name=value`.
    pub async fn deploy_with(program: &Path, parameters: &[&str]) -> Self {
        let stack = Self::deploy_by(async |emulator| sam_deploy(emulator, program, parameters)).await;
        let is_default = |parameter: &&str| !parameter.starts_with("Wiring=") && !parameter.starts_with("WireBucket=");
        if parameters.iter().all(is_default) {
            stack.wire();
        }
        stack
    }

    /// [`Stack::deploy_with`] with the parameters that `prepare` returns, for example of secrets that it creates.
    pub async fn deploy_prepared(program: &Path, prepare: impl AsyncFnOnce(&Emulator) -> Vec<String>) -> Self {
        let deploy = async |emulator: &Emulator| {
            let parameters = prepare(emulator).await;
            sam_deploy(emulator, program, &parameters.iter().map(String::as_str).collect::<Vec<_>>());
        };
        let stack = Self::deploy_by(deploy).await;
        stack.wire();
        stack
    }

    /// Starts an emulator with the log bucket, and deploys the stack with `deploy`.
    pub async fn deploy_by(deploy: impl AsyncFnOnce(&Emulator)) -> Self {
        let faults = Faults::start();
        let emulator = Emulator::ministack(Policies::Enforced, LambdaEndpoint::Proxy(&faults.endpoint()));
        faults.forward_to(&emulator.endpoint());
        let config = emulator.config();
        let s3 = aws_sdk_s3::Client::new(&config);
        for bucket in [LOG_BUCKET, "artifacts"] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        deploy(&emulator).await;
        let sqs = aws_sdk_sqs::Client::new(&config);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let mut stack = Self { faults, s3, sqs, dynamodb, outputs: HashMap::new(), emulator };
        stack.outputs = stack.read_outputs().await;
        stack.s3.delete_bucket_policy().bucket(stack.output("LakeBucketName")).send().await.unwrap();
        stack.set_visibility(Duration::from_secs(5)).await;
        stack
    }

    /// Deploys the template again, as an upgrade does, with these parameters. `sam deploy` keeps the values of the others.
    pub fn deploy_again(&self, program: &Path, parameters: &[&str]) {
        sam_deploy(&self.emulator, program, parameters);
    }

    /// Creates a change set of the template with these parameters, and does not execute it.
    pub fn create_change_set(&self, program: &Path, parameters: &[&str]) {
        sam_deploy(&self.emulator, program, &[parameters, &["--no-execute-changeset"]].concat());
    }

    /// Returns the URL of the emulator.
    pub fn endpoint(&self) -> String {
        self.emulator.endpoint()
    }

    /// Returns an output of the template.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("no output {name} in {:?}", self.outputs))
    }

    /// Runs `trailhose wire`.
    pub fn wire(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trailhose"));
        run(with_root(command.args(["wire", "--stack", NAME]), &self.emulator));
    }

    /// Tries to deploy the template as another stack, and returns the output of `sam deploy` if it fails.
    pub fn deploy_another(&self, name: &str, program: &Path, parameters: &[&str]) -> Result<(), String> {
        try_sam_deploy(&self.emulator, name, program, parameters)
    }

    /// Deletes the stack, and waits until it is deleted.
    pub async fn delete(&self) {
        let client = aws_sdk_cloudformation::Client::new(&self.config());
        client.delete_stack().stack_name(NAME).send().await.unwrap();
        let start = Instant::now();
        loop {
            let status = match client.describe_stacks().stack_name(NAME).send().await {
                Ok(found) => found.stacks()[0].stack_status().unwrap().as_str().to_owned(),
                Err(_) => return,
            };
            if status == "DELETE_COMPLETE" {
                return;
            }
            let is_in_time = start.elapsed() < Duration::from_secs(300) && status != "DELETE_FAILED";
            assert!(is_in_time, "{status}: {}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Puts an object into the log bucket, which notifies the queue.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let body: Vec<u8> = body.into();
        self.s3.put_object().bucket(LOG_BUCKET).key(key).body(body.into()).send().await.unwrap();
    }

    /// Sends a message to the ingest queue.
    pub async fn send(&self, body: &str) {
        let queue = self.output("IngestQueueUrl");
        self.sqs.send_message().queue_url(queue).message_body(body).send().await.unwrap();
    }

    /// Sets the visibility timeout of the ingest queue and the deferred queue.
    pub async fn set_visibility(&self, time: Duration) {
        for queue in ["IngestQueueUrl", "DeferredQueueUrl"] {
            let sent = self.sqs.set_queue_attributes().queue_url(self.output(queue));
            sent.attributes(QueueAttributeName::VisibilityTimeout, time.as_secs().to_string()).send().await.unwrap();
        }
    }

    /// Waits until the ingest queue and the deferred queue contain no visible, delayed or hidden message.
    pub async fn drained(&self, patience: Duration) {
        let start = Instant::now();
        let mut quiet = 0;
        // A notification is sent asynchronously, so one check could be too early.
        while quiet < 3 {
            let left = self.messages().await;
            quiet = if left == 0 { quiet + 1 } else { 0 };
            assert!(
                start.elapsed() < patience,
                "{left} messages left in the queue after {patience:?}; the emulator's last words:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    async fn messages(&self) -> u64 {
        self.messages_in("IngestQueueUrl").await + self.messages_in("DeferredQueueUrl").await
    }

    /// Returns the number of messages in a queue of the stack, in all states.
    pub async fn messages_in(&self, queue: &str) -> u64 {
        let asked = self.sqs.get_queue_attributes().queue_url(self.output(queue));
        let got = asked.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attributes = got.attributes().unwrap();
        [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .iter()
        .map(|name| attributes[name].parse::<u64>().unwrap())
        .sum()
    }

    /// Returns the bodies of the messages in the dead-letter queue. Reading hides them temporarily.
    pub async fn dead_letters(&self) -> Vec<String> {
        self.bodies_in("DeadLetterQueueUrl").await
    }

    /// Returns the bodies of the messages of a queue without consumers.
    async fn bodies_in(&self, queue: &str) -> Vec<String> {
        let queue = self.output(queue);
        let mut bodies = Vec::new();
        loop {
            let got = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).send().await.unwrap();
            if got.messages().is_empty() {
                return bodies;
            }
            bodies.extend(got.messages().iter().filter_map(|message| message.body().map(str::to_owned)));
        }
    }

    /// Returns the names of the ingest function's policies.
    pub async fn policies(&self) -> Vec<String> {
        let got = self.iam(&[("Action", "ListRolePolicies"), ("RoleName", self.role("IngestRoleArn"))]).await;
        got.split("<member>").skip(1).map(|name| name.split_once('<').unwrap().0.to_owned()).collect()
    }

    /// Removes a policy of the ingest function, by its name in the template, and returns its document.
    pub async fn take_policy(&self, policy: &str) -> String {
        self.take_policy_of("IngestRoleArn", policy).await
    }

    async fn take_policy_of(&self, role: &str, policy: &str) -> String {
        let role = self.role(role);
        let got = self.iam(&[("Action", "GetRolePolicy"), ("RoleName", role), ("PolicyName", policy)]).await;
        let document = element(&got, "PolicyDocument").to_owned();
        self.iam(&[("Action", "DeleteRolePolicy"), ("RoleName", role), ("PolicyName", policy)]).await;
        percent_encoding::percent_decode_str(&document).decode_utf8().unwrap().into_owned()
    }

    /// Adds a policy to the ingest function.
    pub async fn give_policy(&self, policy: &str, document: &str) {
        self.give_policy_to("IngestRoleArn", policy, document).await;
    }

    async fn give_policy_to(&self, role: &str, policy: &str, document: &str) {
        let call = [("PolicyName", policy), ("PolicyDocument", document)];
        self.iam(&[[("Action", "PutRolePolicy"), ("RoleName", self.role(role))], call].concat()).await;
    }

    /// Returns the AWS configuration of a new user with only this managed policy and this inline policy.
    pub async fn user_with_policy(&self, name: &str, policy: &str, inline: &str) -> aws_config::SdkConfig {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]).await;
        self.iam(&[("Action", "AttachUserPolicy"), ("UserName", name), ("PolicyArn", policy)]).await;
        let inline = [("PolicyName", "inline"), ("PolicyDocument", inline)];
        self.iam(&[&[("Action", "PutUserPolicy"), ("UserName", name)][..], &inline].concat()).await;
        let key = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]).await;
        let [id, secret] = ["AccessKeyId", "SecretAccessKey"].map(|part| element(&key, part));
        let credentials = aws_sdk_s3::config::Credentials::new(id, secret, None, None, "bed");
        let provider = aws_sdk_s3::config::SharedCredentialsProvider::new(credentials);
        self.config().into_builder().credentials_provider(provider).build()
    }

    /// Returns the AWS configuration for the emulator without the proxy, with the account's root user.
    pub fn config(&self) -> aws_config::SdkConfig {
        self.emulator.config()
    }

    /// Kills at most this many running functions of the emulator, like a crash of their machine. Returns how many it
    /// killed.
    pub fn kill_functions(&self, most: usize) -> usize {
        super::process::kill_programs(most, |process| {
            let program = std::fs::read_link(process.join("exe")).unwrap_or_default();
            // The emulator unpacks each function into a separate temporary folder.
            program.starts_with(self.emulator.folder()) && program.to_string_lossy().contains("/bootstrap")
        })
    }

    /// Returns the log of the emulator, which includes those of the functions.
    pub fn log(&self) -> String {
        self.emulator.log()
    }

    /// Returns the end of the log, for assertion messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn role(&self, output: &str) -> &str {
        self.output(output).rsplit('/').next().unwrap()
    }

    async fn iam(&self, call: &[(&str, &str)]) -> String {
        self.query("iam", &[call, &[("Version", "2010-05-08")]].concat()).await
    }

    async fn read_outputs(&self) -> HashMap<String, String> {
        let call = [("Action", "DescribeStacks"), ("StackName", NAME), ("Version", "2010-05-15")];
        let answer = self.query("cloudformation", &call).await;
        let outputs = answer.split("<OutputKey>").skip(1);
        outputs
            .map(|output| {
                let (name, rest) = output.split_once("</OutputKey>").unwrap();
                (name.to_owned(), element(rest, "OutputValue").to_owned())
            })
            .collect()
    }

    /// Calls a query service without an SDK client, which would increase compile times.
    async fn query(&self, service: &str, call: &[(&str, &str)]) -> String {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let form: Vec<_> = call
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let form = form.join("&").into_bytes();
        let (status, body) = self.ask(service, "POST /", "application/x-www-form-urlencoded", form).await;
        assert_eq!(status, 200, "{call:?}: {body}");
        body
    }

    /// Calls a service as the root user without an SDK client. Returns the status and the body.
    async fn ask(&self, service: &str, what: &str, content: &str, body: Vec<u8>) -> (u16, String) {
        let address = self.emulator.endpoint().trim_start_matches("http://").to_owned();
        let mut request = Message::reply(0, &[], body);
        request.first = format!("{what} HTTP/1.1");
        request.set_header("Host", Some(address.clone()));
        request.set_header("Content-Type", Some(content.into()));
        request.set_header("Authorization", Some(super::http::root_authorization(service)));
        let reply = request.exchange(&address).await.unwrap();
        (reply.status(), String::from_utf8(reply.body.clone()).unwrap())
    }
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once("</").unwrap().0
}

/// Deploys the result of `sam build` with the debug build of the program instead.
fn sam_deploy(emulator: &Emulator, program: &Path, parameters: &[&str]) {
    try_sam_deploy(emulator, NAME, program, parameters).unwrap_or_else(|error| panic!("{error}"));
}

fn try_sam_deploy(emulator: &Emulator, name: &str, program: &Path, parameters: &[&str]) -> Result<(), String> {
    let folder = prepared_template(program);
    let mut command = Command::new(tool("sam/bin/sam"));
    command.current_dir(folder.path()).args([
        "deploy",
        "--template-file=template.yaml",
        &format!("--stack-name={name}"),
        "--s3-bucket=artifacts",
        "--capabilities=CAPABILITY_IAM",
        "--no-confirm-changeset",
        "--parameter-overrides",
        &format!("LogBucketName={LOG_BUCKET}"),
        &format!("Architecture={}", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }),
        // In the past, so that it fires only through `Stack::fire_schedule`.
        "BackfillSchedule=at(2026-01-01T00:00:00)",
        "BackfillState=DISABLED",
    ]);
    command.args(parameters);
    try_run(with_root(&mut command, emulator))
}

/// Writes an archive with a program as `bootstrap`, without compression: `sam deploy` would compress 70 MB in each deployment.
const ARCHIVE: &str = "import sys, zipfile\n\
                       with zipfile.ZipFile(sys.argv[2], 'w') as archive: archive.write(sys.argv[1], 'bootstrap')";

/// Returns a folder with the result of `sam build`, except that it contains debug builds, each as an archive.
pub fn prepared_template(program: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    for (name, program) in [
        ("ingest", program),
        ("backfill", &super::lambda_program("backfill")),
        ("detect", &super::lambda_program("detect")),
        ("wire", &super::lambda_program("wire")),
    ] {
        let [stripped, archive] = [name.to_owned(), format!("{name}.zip")].map(|file| folder.path().join(file));
        run(Command::new("strip").arg("-o").arg(&stripped).arg(program));
        run(Command::new(tool("sam/bin/python")).args(["-c", ARCHIVE]).args([&stripped, &archive]));
        let package = format!("CodeUri: lambda/{name}\n");
        assert!(template.contains(&package), "{name}");
        template = template.replacen(&package, &format!("CodeUri: {name}.zip\n"), 1);
    }
    // AWS has no permission of this name, but the emulator requires it.
    let send = "Action: sqs:SendMessage\n";
    assert!(template.contains(send));
    // The ingest function does not send batches, so its role stays unchanged.
    let (ingest, backfill) = template.split_once("\n  BackfillRole:\n").unwrap();
    let backfill = backfill.replace(send, "Action: [sqs:SendMessage, sqs:SendMessageBatch]\n");
    template = format!("{ingest}\n  BackfillRole:\n{backfill}");
    // The emulator compares this number with the text of the parameter and stops polling.
    for parameter in ["MaximumConcurrency", "DeferredConcurrency", "BackfillConcurrency", "BackfillIngestConcurrency"] {
        let before = format!("MaximumConcurrency: !Ref {parameter}\n");
        assert_eq!(template.matches(&before).count(), 1, "{before}");
        template = template.replace(&before, "MaximumConcurrency: 4\n");
    }
    // The emulator takes the ARN by which a parameter is read for its name, and compares another ARN with the policy.
    for kind in ["Slack", "PagerDuty"] {
        let parameter = format!("Alert{kind}SecretArn");
        let resource = format!("- !If [Alerts{kind}, !Ref {parameter}, !Ref AWS::NoValue]\n");
        assert_eq!(template.matches(&resource).count(), 1, "{resource}");
        let named = format!("!Sub \"arn:aws:ssm:${{AWS::Region}}:${{AWS::AccountId}}:parameter/${{{parameter}}}\"");
        template = template.replace(&resource, &format!("- !If [Alerts{kind}, {named}, !Ref AWS::NoValue]\n"));
    }
    // The emulator does not compress, and its Athena reads files as their names say.
    assert!(template.contains("FileExtension: .jsonl.gz\n"));
    template = template.replace("FileExtension: .jsonl.gz\n", "FileExtension: .jsonl\n");
    std::fs::write(folder.path().join("template.yaml"), without_named_queries(&template)).unwrap();
    folder
}

/// Returns a template without its named queries, because the emulator refuses a template with them.
/// `tests/lake_tables.rs` tests them.
pub fn without_named_queries(template: &str) -> String {
    let is_query = |block: &&str| block.contains("    Type: AWS::Athena::NamedQuery\n");
    let blocks: Vec<_> = template.split_inclusive("\n\n").collect();
    assert!(blocks.iter().filter(|block| is_query(block)).count() > 20);
    blocks.into_iter().filter(|block| !is_query(block)).collect()
}

/// Replaces the AWS configuration of the environment with the emulator's root user.
pub fn with_root<'a>(command: &'a mut Command, emulator: &Emulator) -> &'a mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", emulator.folder())
        .env("AWS_ENDPOINT_URL", emulator.endpoint())
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", REGION)
        .env("SAM_CLI_TELEMETRY", "0")
        // Seconds between two looks at a deployment. The default is 5.
        .env("SAM_CLI_POLL_DELAY", "0.3")
}

/// Runs a command, which must succeed.
pub fn run(command: &mut Command) {
    try_run(command).unwrap_or_else(|error| panic!("{error}"));
}

/// Runs a command and returns its output if it fails.
fn try_run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}
