//! `kek`, or a KMS key's URI as Tink writes it.

use super::Under;

const PREFIX: &str = "aws-kms://";
const KNOWN: &str = "known are kek and aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID";

/// A key in AWS KMS, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AwsKey {
    pub(super) arn: String,
    pub(super) region: String,
}

impl AwsKey {
    pub(crate) fn uri(&self) -> String {
        format!("{PREFIX}{}", self.arn)
    }
}

/// What follows `--under`.
pub(super) fn under(text: &str) -> Result<Under, String> {
    if text == "kek" {
        return Ok(Under::Kek);
    }
    let arn = text.strip_prefix(PREFIX).ok_or_else(|| KNOWN.to_owned())?;
    let parts: Vec<_> = arn.split(':').collect();
    match parts[..] {
        ["arn", partition, "kms", region, account, key]
            if partition.starts_with("aws")
                && !region.is_empty()
                && !account.is_empty()
                && key.strip_prefix("key/").is_some_and(|id| !id.is_empty()) =>
        {
            Ok(Under::AwsKms(AwsKey { arn: arn.to_owned(), region: region.to_owned() }))
        }
        _ => Err(format!("not a key's ARN: {KNOWN}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Under, under};

    #[test]
    fn a_kms_key_is_named_by_its_whole_arn() {
        let uri = "aws-kms://arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1";
        let Under::AwsKms(key) = under(uri).unwrap() else { panic!("not a KMS key") };
        assert_eq!((key.region.as_str(), key.uri().as_str()), ("us-gov-west-1", uri));
        for other in [
            "KEK",
            "file:kek",
            "gcp-kms://projects/p",
            "aws-kms://",
            "aws-kms://alias/reseal",
            "aws-kms://arn:aws:kms:eu-central-1:111122223333:alias/reseal",
            "aws-kms://arn:aws:s3:eu-central-1:111122223333:key/1",
            "aws-kms://arn:aws:kms::111122223333:key/1",
            "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/",
            "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1:2",
        ] {
            assert!(under(other).unwrap_err().contains("known are kek"), "{other}");
        }
    }
}
