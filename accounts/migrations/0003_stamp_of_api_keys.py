from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_realms_invites_mails_and_keys"),
    ]

    operations = [
        # A key without a stamp has ended: none could be made before.
        migrations.AddField("apikey", "stamp", models.CharField(default="", max_length=32), preserve_default=False),
    ]
