//! The credentials of a command-line program: the SDK's default providers with a time limit, and with errors of one
//! line that name the next step.

use aws_config::SdkConfig;
use aws_config::profile::{self, ProfileSet};
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::os_shim_internal::{Env, Fs};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long to wait for credentials before an error or a warning.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// The SDK's own limit for loading credentials. It is long, because a `credential_process` can ask for a code.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(900);

/// How long to wait for the credentials of a role.
const ROLE_LIMIT: Duration = Duration::from_secs(10);

/// How long the credentials that [`check`] loads are kept for the SDK's first request for credentials. Without this, a
/// `credential_process` would run twice.
const FIRST_LOAD_LIFETIME: Duration = Duration::from_secs(60);

/// An error of the credentials provider, as text for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ExplainedError(String);

/// Loads the credentials of `config`.
///
/// # Errors
/// Returns one line with the next step, after at most five seconds. Only a `credential_process` may take longer.
pub async fn check(config: &SdkConfig) -> Result<(), String> {
    let Some(provider) = config.credentials_provider() else { return Ok(()) };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(error) => Err(explained(&error).unwrap_or_else(|| error.to_string())),
    }
}

/// Returns the explanation of an SDK error that the provider caused.
pub(super) fn explained(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref::<ExplainedError>()).map(ToString::to_string)
}

/// Adds the time limit and the explanations to the provider of `config`. `profile` is the profile that the program
/// selected; without one, the environment selects it.
pub(super) fn with_explanations(config: SdkConfig, profile: Option<String>) -> SdkConfig {
    match config.credentials_provider() {
        None => config,
        Some(inner) => {
            let provider = ExplainedProvider { inner, profile, first: Mutex::new(FirstLoad::Pending) };
            config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
        }
    }
}

/// Returns the provider of `config`.
///
/// # Errors
/// There is none.
pub(super) fn provider(config: &SdkConfig) -> Result<SharedCredentialsProvider, String> {
    config.credentials_provider().ok_or_else(|| "there is no provider of AWS credentials".into())
}

/// Returns `base` with the credentials of a role.
pub(super) fn with_role(base: &SdkConfig, role: AssumeRoleProvider, arn: &str) -> SdkConfig {
    let provider = RoleProvider { inner: role, arn: arn.to_owned() };
    base.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

/// Explains why a role cannot be assumed.
#[derive(Debug)]
struct RoleProvider {
    inner: AssumeRoleProvider,
    arn: String,
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let loaded = timeout(ROLE_LIMIT, self.inner.provide_credentials()).await;
            let error = match loaded {
                Ok(Ok(loaded)) => return Ok(loaded),
                Ok(Err(error)) => error,
                Err(_) => CredentialsError::provider_timed_out(ROLE_LIMIT),
            };
            // The credentials that assume the role have an explanation of their own.
            let text = explained(&error).unwrap_or_else(|| {
                format!(
                    "the role {} cannot be assumed: {}. Check that your credentials are allowed sts:AssumeRole on it, and \
                     that its trust policy accepts them and the external ID",
                    self.arn,
                    last_cause(&error)
                )
            });
            Err(CredentialsError::provider_error(ExplainedError(text)))
        })
    }
}

#[derive(Debug)]
struct ExplainedProvider {
    inner: SharedCredentialsProvider,
    /// The profile that the program selected.
    profile: Option<String>,
    first: Mutex<FirstLoad>,
}

/// The state of the first load of credentials.
#[derive(Debug)]
enum FirstLoad {
    /// No credentials were loaded yet.
    Pending,
    /// Credentials were loaded at this time. The next request for credentials gets them.
    Kept(Credentials, Instant),
    /// Later requests load credentials again.
    Used,
}

impl ProvideCredentials for ExplainedProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

impl ExplainedProvider {
    async fn load(&self) -> provider::Result {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let mut loading = pin!(self.inner.provide_credentials());
        let loaded = match timeout(WAIT_LIMIT, &mut loading).await {
            Ok(loaded) => loaded,
            Err(_) => match Profiles::load(self.profile.as_deref()).await.credential_process_profile() {
                Some(profile) => {
                    tracing::warn!("waiting for AWS credentials from the credential_process of profile {profile:?}");
                    loading.await
                }
                None => Err(CredentialsError::provider_timed_out(WAIT_LIMIT)),
            },
        };
        match loaded {
            Ok(loaded) => {
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                *first = match *first {
                    FirstLoad::Pending => FirstLoad::Kept(loaded.clone(), Instant::now()),
                    _ => FirstLoad::Used,
                };
                Ok(loaded)
            }
            Err(error) => {
                let text = explanation(&error, &Profiles::load(self.profile.as_deref()).await);
                Err(CredentialsError::provider_error(ExplainedError(text)))
            }
        }
    }

    fn kept(&self) -> Option<Credentials> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match &*first {
            FirstLoad::Pending | FirstLoad::Used => None,
            FirstLoad::Kept(credentials, since) => {
                let kept = (since.elapsed() < FIRST_LOAD_LIFETIME).then(|| credentials.clone());
                *first = FirstLoad::Used;
                kept
            }
        }
    }
}

/// The profiles of the AWS configuration files; the error if they cannot be read.
struct Profiles(Result<ProfileSet, String>);

impl Profiles {
    /// Loads the files. Without `selected`, the environment selects the profile.
    async fn load(selected: Option<&str>) -> Self {
        let (files, selected) = (Default::default(), selected.map(|name| name.to_owned().into()));
        Self(profile::load(&Fs::real(), &Env::real(), &files, selected).await.map_err(|error| last_cause(&error)))
    }

    /// Returns the name of the profile that runs a `credential_process`: the selected one or one of its sources.
    fn credential_process_profile(&self) -> Option<&str> {
        let profiles = self.0.as_ref().ok()?;
        let mut name = profiles.selected_profile();
        // The number of profiles bounds a chain that refers to itself.
        for _ in profiles.profiles() {
            let profile = profiles.get_profile(name)?;
            if profile.get("credential_process").is_some() {
                return Some(profile.name());
            }
            name = profile.get("source_profile")?;
        }
        None
    }
}

/// Describes a failure in one line with the next step.
fn explanation(error: &CredentialsError, profiles: &Profiles) -> String {
    const SET_UP: &str = "set AWS_PROFILE, run `aws sso login`, or attach a role";
    let profiles = match &profiles.0 {
        Ok(profiles) => profiles,
        Err(error) => return format!("the AWS configuration files cannot be read: {error}"),
    };
    let selected = profiles.selected_profile();
    if selected != "default" && profiles.get_profile(selected).is_none() {
        let names: Vec<&str> = profiles.profiles().collect();
        let existing =
            if names.is_empty() { "there are no profiles".into() } else { format!("it has {}", names.join(", ")) };
        return format!(
            "the AWS profile {selected:?} does not exist in the AWS configuration ({existing}): set AWS_PROFILE to a \
             profile, or add it with `aws configure --profile {selected}`"
        );
    }
    let cause = last_cause(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => format!("no AWS credentials were found: {SET_UP}"),
        CredentialsError::ProviderTimedOut(_) => {
            format!(
                "no AWS credentials were found within {} s, because a provider does not answer: {SET_UP}",
                WAIT_LIMIT.as_secs()
            )
        }
        _ if is_instance_metadata(error) => format!(
            "no AWS credentials were found, and the instance metadata service refused the request: {SET_UP}, or check \
             the metadata options of the instance"
        ),
        _ => match profiles.get_profile(selected) {
            Some(profile) if profile.get("sso_session").or(profile.get("sso_start_url")).is_some() => format!(
                "the AWS credentials of profile {selected:?} cannot be loaded: run `aws sso login --profile {selected}`. \
                 {cause}"
            ),
            Some(_) => format!("the AWS credentials of profile {selected:?} cannot be loaded: {cause}"),
            None => format!("the AWS credentials cannot be loaded: {cause}"),
        },
    }
}

/// Returns whether the failed provider is the instance metadata service. Its error contains a response as debug output.
fn is_instance_metadata(error: &CredentialsError) -> bool {
    super::causes(error).any(|cause| cause.is::<aws_config::imds::client::error::ImdsError>())
}

/// Returns the text of the last cause, which describes what failed. Longer texts are cut: they are debug output.
fn last_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    let text: String = last.map(ToString::to_string).unwrap_or_default();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
