"""Where the key service keeps what must survive: SQLAlchemy on SQLite or PostgreSQL, and the audit file."""
