//! Endpoints of SLS.

use super::Upstream;
use crate::foundation::secret::{SecretError, SecretRef};

impl Upstream {
    /// The region for v4 signatures: the configured one, or the one in the endpoint's name.
    #[must_use]
    pub fn effective_region(&self) -> Option<&str> {
        let named = self.region.as_deref();
        named.or_else(|| region_of(self.endpoint.as_deref()?))
    }

    /// The id of the access key: as it stands, or what `env:NAME` or `file:PATH` hold now; empty when
    /// there is none.
    ///
    /// # Errors
    /// When the variable is not set, or the file cannot be read, is empty or is no text.
    pub fn key_id(&self) -> Result<String, SecretError> {
        let text = self.access_key_id.clone().unwrap_or_default();
        if !(text.starts_with("env:") || text.starts_with("file:")) {
            return Ok(text);
        }
        let held = SecretRef::try_from(text.clone())?.read()?;
        let id = held.expose_text().map(str::to_owned);
        id.ok_or(SecretError::Empty(text))
    }
}

/// The region in the name of an SLS endpoint, by the rule of the SDKs: what stands before
/// `.log.aliyuncs.com` or `.sls.aliyuncs.com`, without the name of the network.
#[must_use]
pub fn region_of(endpoint: &str) -> Option<&str> {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let zone = [".log.aliyuncs.com", ".sls.aliyuncs.com"]
        .iter()
        .find_map(|suffix| host.strip_suffix(suffix))?;
    let region = ["-share", "-intranet", "-vpc"]
        .iter()
        .find_map(|network| zone.strip_suffix(network))
        .unwrap_or(zone);
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_what_an_sls_endpoint_says() {
        for (endpoint, region) in [
            ("https://cn-hangzhou.log.aliyuncs.com", Some("cn-hangzhou")),
            (
                "http://cn-shanghai-intranet.log.aliyuncs.com:80",
                Some("cn-shanghai"),
            ),
            ("cn-beijing-share.log.aliyuncs.com", Some("cn-beijing")),
            ("https://eu-west-1-vpc.sls.aliyuncs.com", Some("eu-west-1")),
            ("https://log-global.aliyuncs.com", None),
            ("https://my-project.cn-hangzhou.log.aliyuncs.com", None),
            ("https://store.example.com", None),
        ] {
            assert_eq!(region_of(endpoint), region, "{endpoint}");
        }
    }
}
