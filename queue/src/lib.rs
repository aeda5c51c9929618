//! The doorbell: apalis over Redis, or in process
