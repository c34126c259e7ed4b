from django.db import migrations, models

import core.clock
import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Backup",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=core.ids.new_id, editable=False, max_length=32, primary_key=True, serialize=False
                    ),
                ),
                ("filename", models.CharField(max_length=255)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "is being made, or waits for that"),
                            ("completed", "is in the storage"),
                            ("failed", "came to nothing"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("request", "somebody, over the API"),
                            ("schedule", "the setting backup_schedule"),
                            ("command", "manage.py backup"),
                            ("safety", "something that was about to change much"),
                            ("upload", "it was uploaded"),
                            ("found", "it was found in the storage"),
                        ],
                        max_length=10,
                    ),
                ),
                ("note", models.CharField(blank=True, default="", max_length=200)),
                ("with_files", models.BooleanField(default=True)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("percent", models.PositiveSmallIntegerField(default=0)),
                ("missing", models.PositiveIntegerField(default=0)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                ("created", models.DateTimeField(default=core.clock.now)),
                ("created_by", models.CharField(blank=True, default="", max_length=128)),
                ("begun", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("finished", models.DateTimeField(null=True)),
                ("deleted", models.DateTimeField(null=True)),
                ("deleted_by", models.CharField(blank=True, default="", max_length=128)),
            ],
            options={
                "db_table": "backups",
                "ordering": ("-created", "-id"),
                "indexes": [models.Index(fields=["origin", "-created"], name="backups_by_origin")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("deleted", None)), fields=("filename",), name="one_backup_of_a_name"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "running")), fields=("status",), name="one_backup_at_a_time"
                    ),
                ],
            },
        ),
    ]
