from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_resends_of_challenges"),
    ]

    operations = [
        migrations.AddField(
            model_name="challenge",
            name="client",
            field=models.CharField(blank=True, max_length=45),
        ),
    ]
