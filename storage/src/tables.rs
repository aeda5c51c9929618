//! The reference tables, as `reseal migrate --reference-tables` makes them

mod messages;
mod sync_queue;
mod user_profiles;

pub use messages::Messages;
pub use sync_queue::{Entry, SyncQueue};
pub use user_profiles::UserProfiles;
