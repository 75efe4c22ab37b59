//! hoststack
