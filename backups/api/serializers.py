"""What the endpoints of backups take."""

from __future__ import annotations

from rest_framework import serializers

from core.serializers import Flag, StrictSerializer, Text

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
MAX_OFFSET = 10_000_000
MAX_NOTE = 200


class NewBackupSerializer(StrictSerializer):
    """All of it may be left out."""

    note = Text(required=False, allow_blank=True, max_length=MAX_NOTE, help_text="What it is for, to be read later.")
    with_files = Flag(required=False, help_text="The stored files too; true unless said otherwise.")


class NewBackupQuerySerializer(StrictSerializer):
    background = Flag(required=False, help_text="Answer at once, with 202; the list tells how far it is.")


class BackupsQuerySerializer(StrictSerializer):
    limit = serializers.IntegerField(
        required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT, help_text="How many to answer."
    )
    offset = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=MAX_OFFSET, help_text="How many to skip."
    )
    deleted = Flag(required=False, default=False, help_text="Those that were deleted lately, and by whom.")
