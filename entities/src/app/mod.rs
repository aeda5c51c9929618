//! The reference tables: what an application's encrypted tables can look like.

pub mod messages;
pub mod sync_queue;
pub mod user_profiles;
