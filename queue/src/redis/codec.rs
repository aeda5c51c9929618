use apalis_core::backend::codec::Codec;
use reseal_entities::job::Job;

/// JSON that never refuses: whatever is not a [`Job`] becomes one of an unknown kind, to be
/// acknowledged and counted. apalis ends the worker over a payload that does not decode, and the
/// message comes back half a minute later to end the next one.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobCodec;

impl Codec<Job> for JobCodec {
    type Compact = Vec<u8>;
    type Error = serde_json::Error;

    fn encode(&self, job: &Job) -> Result<Vec<u8>, Self::Error> {
        serde_json::to_vec(job)
    }

    fn decode(&self, payload: &Vec<u8>) -> Result<Job, Self::Error> {
        Ok(serde_json::from_slice(payload).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reseal_entities::job::JobKind;

    #[test]
    fn no_payload_is_refused() {
        for payload in ["", "42", "null", "garbage", "[]", "[1,2]", r#"{"kind":7}"#, r#"{"id":1e99}"#, "\u{0}\u{7f}"] {
            assert_eq!(JobCodec.decode(&payload.into()).unwrap(), Job::default(), "{payload:?}");
        }
        assert_eq!(JobCodec.decode(&vec![0xff, 0xfe]).unwrap().kind, JobKind::Unknown);
    }

    #[test]
    fn a_job_comes_back_as_it_was() {
        let job = Job { kind: JobKind::Batch, id: 7 };
        assert_eq!(JobCodec.decode(&JobCodec.encode(&job).unwrap()).unwrap(), job);
    }
}
