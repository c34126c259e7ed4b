"""Files of records: staging → uses → removal; serving, thumbs and tokens; the media library."""
