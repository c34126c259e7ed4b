"""Work that is too long for a request: kept in the database, done in the background, told of as it goes on."""
