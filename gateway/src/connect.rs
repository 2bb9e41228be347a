//! Drivers of Spark Connect pools: what all backends do for them.

use serde_json::Value;

use crate::application::{CONNECT, Spec};
use crate::error::{Error, Result};
use crate::fields::{containers, items};
use crate::secrets::SecretValue;
use crate::{ConnectKey, Name, SparkApplication};

/// The main class of Spark's server.
pub(crate) const SERVER: &str = "org.apache.spark.sql.connect.service.SparkConnectServer";
/// The variable of a driver with the token that its clients have to send.
pub(crate) const TOKEN_VARIABLE: &str = "SPARK_CONNECT_AUTHENTICATE_TOKEN";
/// The settings of the address that a driver listens on.
pub(crate) const BINDING_ADDRESS: &str = "spark.connect.grpc.binding.address";
pub(crate) const BINDING_PORT: &str = "spark.connect.grpc.binding.port";
/// The setting of the token. Spark prefers it to the variable, and shows it to every client.
const TOKEN: &str = "spark.connect.authenticate.token";
/// The settings that only dcp may set for the drivers of pools.
pub(crate) const SETTINGS: [&str; 3] = [BINDING_ADDRESS, BINDING_PORT, TOKEN];

/// Returns the token of an application that is the driver of a pool; nothing for other applications. Rejects a setting
/// that would change the driver's address or token.
pub(crate) fn token(application: &SparkApplication, key: Option<&ConnectKey>) -> Result<Option<SecretValue>> {
    let SparkApplication { metadata, spec, .. } = application;
    if spec.spark_conf.get(CONNECT).is_none_or(|value| value != "true") {
        return Ok(None);
    }
    let Some(key) = key else {
        let reason = "it has no key for the tokens of Spark Connect drivers: start it with `--connect-key FILE`, or use \
                      `dcp up`, which makes a key";
        return Err(Error::Invalid(format!("this process of dcp can't run Spark Connect pools: {reason}")));
    };
    for setting in SETTINGS {
        if spec.spark_conf.contains_key(setting) {
            let reason = "dcp sets the address and the token of a pool's drivers: leave it out";
            return Err(Error::field(format!("spark.conf.{setting}"), reason));
        }
    }
    if has_variable(spec) {
        let reason = "dcp sets the token of a pool's drivers: leave it out";
        return Err(Error::field(format!("pods.driver.env.{TOKEN_VARIABLE}"), reason));
    }
    let name: Name = metadata.name.parse()?;
    Ok(Some(key.token(&name)))
}

/// Returns true if the manifest sets the variable of the token.
fn has_variable(spec: &Spec) -> bool {
    let is_token = |variable: &Value| variable["name"] == TOKEN_VARIABLE;
    containers(spec).flat_map(|container| items(container, "env")).any(is_token)
        || spec.spark_conf.contains_key(&format!("spark.kubernetes.driverEnv.{TOKEN_VARIABLE}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ConnectKey {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        ConnectKey::load_or_create(&folder.path().join("key")).expect("the folder is writable")
    }

    fn driver() -> SparkApplication {
        let mut application = SparkApplication::default();
        "dcp-a1-1".clone_into(&mut application.metadata.name);
        application.spec.spark_conf.insert(CONNECT.to_owned(), "true".to_owned());
        application
    }

    #[test]
    fn only_drivers_of_pools_have_a_token() {
        let key = key();
        let mut application = driver();
        let name = application.metadata.name.parse().expect("the name is valid");
        assert_eq!(token(&application, Some(&key)), Ok(Some(key.token(&name))));
        let error = token(&application, None).expect_err("there is no key").to_string();
        assert!(error.contains("start it with `--connect-key FILE`, or use `dcp up`"), "{error}");
        application.spec.spark_conf.insert(CONNECT.to_owned(), "false".to_owned());
        assert_eq!(token(&application, None), Ok(None));
        application.spec.spark_conf.clear();
        assert_eq!(token(&application, None), Ok(None));
    }

    #[test]
    fn settings_of_the_address_and_the_token_are_rejected() {
        let key = key();
        let rejected = |application: &SparkApplication| {
            token(application, Some(&key)).expect_err("the setting is rejected").to_string()
        };
        for setting in SETTINGS {
            let mut application = driver();
            application.spec.spark_conf.insert(setting.to_owned(), "canary".to_owned());
            let error = rejected(&application);
            assert!(error.starts_with(&format!("`spark.conf.{setting}`: ")), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let field = format!("`pods.driver.env.{TOKEN_VARIABLE}`: ");
        let mut application = driver();
        let setting = format!("spark.kubernetes.driverEnv.{TOKEN_VARIABLE}");
        application.spec.spark_conf.insert(setting, "x".to_owned());
        assert!(rejected(&application).starts_with(&field));
        let mut application = driver();
        let env = json!([{"name": TOKEN_VARIABLE, "value": "x"}]);
        application.spec.driver_spec.pod_template_spec = json!({"spec": {"containers": [{"env": env}]}});
        assert!(rejected(&application).starts_with(&field));
    }
}
