from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_stamp_of_api_keys"),
    ]

    operations = [
        migrations.AddField(
            "externalidentity",
            "issuer",
            models.CharField(blank=True, default="", max_length=500),
            preserve_default=False,
        ),
        migrations.RemoveConstraint("externalidentity", "one_account_per_identity"),
        migrations.AddConstraint(
            "externalidentity",
            models.UniqueConstraint(fields=("realm", "provider", "issuer", "subject"), name="one_account_per_identity"),
        ),
    ]
